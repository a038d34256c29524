"""What the Templates page draws: the list, the editor, the preview."""

from __future__ import annotations

import re
from collections.abc import Mapping

import streamlit as st

from pages.parts import drafts, figures
from pages.parts.markdown import safe
from router import BadRequest, tokens
from router.templates import MAX_NAME_CHARS, Template

_FIRST_LINE_CHARS = 46
_MOST_BEFORE_SCROLLING = 12


def choose(templates: Mapping[str, Template]) -> str | None:
    """The list. The name of the template that is edited, `drafts.NEW`, or None when there is nothing to choose."""
    opened = drafts.opened()
    names = [drafts.NEW] * (drafts.NEW in opened) + [*templates]
    # Deleted by someone else, but with something typed that only this list can lead to.
    names += [name for name in opened if name not in names and drafts.is_edited(name)]
    st.button("New template", icon=":material/add:", width="stretch", on_click=drafts.begin_new)
    if not names:
        return None
    if st.session_state.get(drafts.CHOICE) not in names:
        st.session_state[drafts.CHOICE] = names[0]
    with st.container(height=640 if len(names) > _MOST_BEFORE_SCROLLING else "content", border=False):
        return st.radio(
            "Template",
            names,
            key=drafts.CHOICE,
            format_func=_list_name,
            captions=[_caption(name, templates.get(name)) for name in names],
            label_visibility="collapsed",
            persist_state="session",
        )


def _list_name(name: str) -> str:
    return "New template" if name == drafts.NEW else _literal(name)


def _caption(name: str, template: Template | None) -> str:
    line = _literal(_first_line(template.text)) if template else ""
    if not drafts.is_edited(name):
        return line
    return f"*Draft* · {line}" if line else "*Draft*"


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _FIRST_LINE_CHARS else line[: _FIRST_LINE_CHARS - 1] + "…"


def _literal(text: str) -> str:
    """Text for a label, in which nothing is Markdown. A word joiner parts what is replaced after parsing."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text).replace(r"\:", "\\:\u2060")


def edit(name: str, templates: Mapping[str, Template]) -> str:
    """Name, text and what can be done with them. The text as it is typed by now."""
    on_disk = templates.get(name)
    base = drafts.begin(name, on_disk)
    st.text_input(
        "Template name",
        key=drafts.name_key(name),
        max_chars=MAX_NAME_CHARS,
        persist_state="session",
        placeholder="Such as product_review",
        help="Change it to rename the template. Letters, digits, spaces, hyphens and underscores.",
    )
    text = st.text_area("Template text", key=drafts.text_key(name), height=260, persist_state="session")
    if base is None or (on_disk and on_disk.version == base.version):
        _offer_actions(name, base)
    elif on_disk is None:
        _settle_with_nobody(name)
    else:
        _settle_with(name, on_disk)
    return text or ""


def _offer_actions(name: str, base: Template | None) -> None:
    edited = drafts.is_edited(name)
    _show_problem()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Save", type="primary", icon=":material/save:", on_click=drafts.save, args=(name,))
        if edited or base is None:
            st.button("Discard", icon=":material/close:", on_click=drafts.forget, args=(name,))
        if base:
            if not edited and st.button("Use in Chat", icon=":material/chat:"):
                st.session_state["template"] = name
                st.switch_page("chat.py")
            st.button("Delete", icon=":material/delete:", on_click=drafts.ask_deletion, args=(name,))
        if edited:
            st.badge("Draft, not in the file yet", icon=":material/edit:", color="orange")


def _settle_with_nobody(name: str) -> None:
    st.warning(
        "What you typed is kept above. Save it as a new template, or let it go.",
        title="Someone else deleted or renamed this template meanwhile",
    )
    _show_problem(but=drafts.NOT_SAVED)  # the warning says why
    with st.container(horizontal=True):
        st.button("Save as new", type="primary", on_click=drafts.save_over, args=(name, None))
        st.button("Discard mine", on_click=drafts.forget, args=(name,))


def _settle_with(name: str, theirs: Template) -> None:
    st.warning(
        "What you typed is kept above and is not saved. This is what they saved:",
        title="Someone else changed this template meanwhile",
    )
    st.code(theirs.text, language=None, wrap_lines=True)
    _show_problem(but=drafts.NOT_SAVED)  # the warning says why
    with st.container(horizontal=True):
        st.button("Load theirs, discard mine", on_click=drafts.forget, args=(name,))
        st.button("Overwrite theirs with mine", on_click=drafts.save_over, args=(name, theirs))


def preview(name: str, text: str) -> None:
    """The prompt as a model would get it, for a sample, and its tokens."""
    st.subheader("Preview", anchor=False)
    st.session_state.setdefault("template_sample", "Explain gravity.")
    sample = st.text_area("Sample prompt", key="template_sample", height=96, persist_state="session")
    template = Template(name, text)
    variables = {}
    for variable in template.placeholders:
        if variable != "prompt":
            key = f"template_sample_{variable}"
            st.session_state.setdefault(key, f"[{variable}]")
            label = f"Sample {_literal(variable)}"
            value = st.text_input(label, key=key, persist_state="session")
            if value:
                variables[variable] = value
    try:
        rendered = template.render(sample or "", variables)
    except BadRequest:
        st.warning("The text has no `{prompt}`. Put it where the prompt belongs.", icon=":material/warning:")
        return
    st.code(rendered, language=None, wrap_lines=True)
    counted = tokens.count(rendered)
    source = "counted by tiktoken; Gemini counts otherwise" if counted.source == "tiktoken" else "estimated"
    st.caption(f"{figures.count(counted.tokens, 'token')} ({source})")


def explain_nothing_yet() -> None:
    """The file is missing or empty."""
    _show_problem()
    with st.container(border=True):
        st.subheader("No templates yet", anchor=False)
        st.write(
            "A template wraps what you ask in words that work: a tone, a format, a checklist. "
            "Write one here, then choose it in Chat or Compare."
        )


def _show_problem(*, but: str = "") -> None:
    """Why the last change could not be made, unless that failure is called `but`."""
    problem = drafts.problem()
    if problem and problem[0] != but:
        st.error(safe(problem[1]), title=problem[0])


def offer_undo() -> None:
    """After a deletion: the way back."""
    deleted = drafts.deleted()
    if deleted:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Deleted {_literal(deleted.name)}.", width="content")
            st.button("Undo", icon=":material/undo:", on_click=drafts.restore, args=(deleted,))


def confirm_deletion() -> None:
    """Ask, when Delete was pressed."""
    name = drafts.asked_deletion()
    template = drafts.opened().get(name) if name else None
    if template:
        _confirm(template)


@st.dialog("Delete this template?")
def _confirm(template: Template) -> None:
    st.write(
        f"**{_literal(template.name)}** will be removed from the templates file. Requests that used it stay in the log."
    )
    with st.container(horizontal=True):
        st.button(
            "Delete",
            type="primary",
            icon=":material/delete:",
            key="template_delete",
            on_click=drafts.delete,
            args=(template,),
        )
        if st.button("Cancel"):
            st.rerun()
