"""Ask a model, watch it answer, rate it."""

import streamlit as st

from pages.parts import answer, chatting, controls, live
from pages.parts.markdown import safe
from router import RouterError, shared_router
from router.options import Options

router = shared_router()
chat = chatting.current(router)

with st.sidebar:
    st.button("New conversation", icon=":material/add:", width="stretch", on_click=chatting.start_new)
    model = controls.pick_model(router)
    setup = controls.pick_setup(router)
    thinking = controls.pick_thinking(router, model)
    fallback = controls.pick_fallback()
    st.caption(chatting.estimate(chat, model, setup))

stop = st.bottom.empty()
# At the top level, not in st.bottom: this is what makes the page follow an answer as it grows.
prompt = st.chat_input("Ask anything", key="prompt")

if prompt:
    live.stop()
under_way = live.current(chatting.PAGE)

messages = st.container()
with messages:
    for turn in chat.turns:
        chatting.show_question(turn.prompt, turn.template)
        with st.chat_message("assistant", avatar=":material/smart_toy:"):
            answer.show(turn)

proposal = st.empty()
if not under_way:
    with proposal.container():
        proposed, another = chatting.propose(router, chat)
    if another:
        model, thinking = another, None  # levels differ from provider to provider
    prompt = prompt or proposed

if prompt:
    proposal.empty()
    options: Options = {**setup.options(), "model": model, "thinking": thinking, "fallback": fallback}
    try:
        under_way = chatting.ask(router, chat, prompt, options)
    except RouterError as error:
        st.error(safe(str(error)), title="Not sent")
        st.code(prompt, language=None, wrap_lines=True, height=200)

if under_way:
    stop.button("Stop", icon=":material/stop_circle:", shortcut="Esc", key="stop", on_click=live.stop)
    with messages:
        chatting.paint(chat, under_way)
    st.rerun()  # the turn is one of the conversation now, and drawn as such with its slider
