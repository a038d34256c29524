"""The Chat page's moving parts: which conversation is shown, and asking."""

from __future__ import annotations

import streamlit as st

from pages.parts import controls, figures, live, turns
from pages.parts.controls import Setup
from pages.parts.live import Live
from pages.parts.markdown import safe
from pages.parts.turns import Conversation, Turn
from router import Answer, LogUnavailable, Message, Router, catalog, tokens
from router.options import Options

PAGE = "chat"
SUGGESTIONS = (
    "Explain gravity.",
    "What is 15% of 249?",
    "What does this playground do?",
)
CONTINUE = (
    "Continue your last message exactly where it broke off: no introduction, no repetition, "
    "in the same style and language."
)
LONG_PROMPT = 2_000
"""Characters; a longer prompt is folded after this many."""


def current(router: Router) -> Conversation:
    """The conversation of this session, or the one that the address names. Keeps the address in step."""
    asked_for = st.query_params.get("c")
    chat: Conversation | None = st.session_state.get("conversation")
    if chat is None or (asked_for and asked_for != chat.id):
        chat = _load(router, asked_for) if asked_for else None
        chat = chat or Conversation()
        st.session_state.conversation = chat
    if chat.turns:
        st.query_params["c"] = chat.id
    elif asked_for:
        del st.query_params["c"]
    return chat


def _load(router: Router, conversation_id: str) -> Conversation | None:
    live.wait_for_the_last(conversation_id)
    try:
        chat = turns.load(router, conversation_id)
    except LogUnavailable as error:
        st.warning(safe(str(error)), title="The conversation cannot be loaded")
        return None
    if chat is None and live.is_under_way(conversation_id):
        st.info("This conversation is being answered in another tab. Reload when it is done.")
        return Conversation(conversation_id)
    if chat is None:
        st.info("The log holds no conversation with the id in this address. This is a new one.")
    elif ":" in chat.turns[-1].answer.requested_model:
        st.session_state.setdefault("model", chat.turns[-1].answer.requested_model)
    return chat


def start_new() -> None:
    """Begin an empty conversation. The old one stays in the log, under its address."""
    live.stop()
    st.session_state.conversation = Conversation()
    st.query_params.pop("c", None)


def suggest(key: str, *, disabled: bool = False) -> str | None:
    """Something to ask, for the first minute. Buttons: of a double click the second does no harm."""
    with st.container(horizontal=True):
        pressed = [text for text in SUGGESTIONS if st.button(text, key=f"{key}-{text}", disabled=disabled)]
    return pressed[0] if pressed else None


def propose(router: Router, chat: Conversation) -> tuple[str | None, str | None]:
    """What to ask next, and of which other model, if the user takes what is proposed.

    At first a suggestion; after an answer that did not come to its end the same prompt again, or the rest of the
    answer from another model.
    """
    if not chat.turns:
        st.title("What would you like to ask?", anchor=False)
        return suggest("suggestion"), None
    last = chat.turns[-1]
    if last.answer.status not in ("error", "stopped", "interrupted"):
        return None, None
    # On the right: where Stop was, an impatient second click would ask again.
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Ask again", icon=":material/refresh:", key=f"again-{last.answer.prompt_id}"):
            return last.prompt, None
        another = _another_model(router, last.answer)
        label = f"Continue on {controls.model_name(another)}"
        if last.answer.text and st.button(label, icon=":material/arrow_forward:", key=f"on-{last.answer.prompt_id}"):
            return CONTINUE, another
    return None, None


def _another_model(router: Router, answer: Answer) -> str:
    """The first model that can answer and is not the one that broke off, of another provider if there is one."""
    usable = [choice for choice in router.models() if choice.configured and choice.model != answer.model]
    if answer.provider == "demo":
        usable = [choice for choice in usable if choice.provider == "demo"]
    else:
        usable = [choice for choice in usable if choice.provider != "demo"] or usable
    usable.sort(key=lambda choice: choice.provider == answer.provider and answer.provider != "demo")
    return usable[0].spec


def show_question(prompt: str, template: str | None) -> None:
    """The user's side of a turn; for a continued answer, the seam."""
    if prompt == CONTINUE:
        st.caption(":material/content_cut: The answer above broke off here. Another model continues:")
        return
    with st.chat_message("user", avatar=":material/person:"):
        show_prompt(prompt, template)


def show_prompt(prompt: str, template: str | None) -> None:
    """What the user typed, as typed."""
    with st.container(height=240 if len(prompt) > LONG_PROMPT else "content", border=False):
        st.text(prompt)
    if template:
        st.caption(f"Template: {safe(template)}")


def estimate(chat: Conversation, model: str, setup: Setup) -> str:
    """How many tokens the next request has before a word of the prompt is typed, and how many would fit."""
    counted = tokens.count_messages([*chat.history(), Message("user", setup.render(""))], setup.system)
    about = "" if counted.source == "tiktoken" else "about "
    text = f"Next request: {about}{figures.count(counted.tokens, 'token')} plus your prompt"
    provider, _, model_id = model.partition(":")
    known = catalog.find(provider, model_id)
    return f"{text}, of {known.context_window:,}." if known and known.context_window else f"{text}."


def ask(router: Router, chat: Conversation, prompt: str, options: Options) -> Live:
    """Send the prompt. However it ends, it becomes a turn. Raises RouterError when nothing was sent."""
    template = options.get("template")
    if prompt == CONTINUE:
        template = None  # its words are in the history already
    sent = router.templates.get(template).render(prompt, options.get("variables")) if template else prompt
    options = {
        **options,
        "template": template,
        "history": chat.history(),
        "conversation_id": chat.id,
        "parent_id": chat.turns[-1].answer.prompt_id if chat.turns else None,
    }

    def keep(over: Live) -> None:
        lane = over.lanes[0]
        chat.turns.append(Turn(prompt, sent, template, lane.stream.answer, str(lane.error) if lane.error else None))

    stream = router.stream(prompt, **options)
    st.query_params["c"] = chat.id
    chat.asking = prompt, template
    return Live(PAGE, chat.id, [stream], keep)


def paint(chat: Conversation, live: Live) -> None:
    """The prompt being answered, and its answer as it is written."""
    show_question(*chat.asking)
    with st.chat_message("assistant", avatar=":material/smart_toy:"):
        live.watch([st.container()], lambda lane, place: None)
