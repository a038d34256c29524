"""Ask several models the same thing, side by side."""

import streamlit as st

from pages.parts import comparing, controls, live
from pages.parts.markdown import safe
from router import RouterError, shared_router

router = shared_router()
comparison = comparing.current(router)

with st.sidebar:
    setup = controls.pick_setup(router)
    st.caption("Here each model answers for itself: nothing falls back to another provider.")

models = comparing.pick_models(router)
enough = comparing.FEWEST <= len(models) <= comparing.MOST

with st.bottom:
    stop = st.empty()
    prompt = st.chat_input("Ask all of them", key="compare_prompt", disabled=not enough)

if prompt:
    live.stop()
under_way = live.current(comparing.PAGE)

result = st.empty()
if not under_way and not (prompt and enough):
    with result.container():
        proposed = comparing.show(comparison) if comparison else comparing.suggest(disabled=not enough)
    prompt = prompt or proposed

if prompt and enough:
    result.empty()
    try:
        under_way = comparing.run(router, prompt, models, setup)
    except RouterError as error:
        st.error(safe(str(error)), title="Not sent")
        st.code(prompt, language=None, wrap_lines=True, height=200)

if under_way:
    stop.button("Stop", icon=":material/stop_circle:", shortcut="Esc", key="compare_stop", on_click=live.stop)
    with result.container():
        comparing.paint(under_way)
    stop.empty()
