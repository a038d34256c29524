"""What was typed on the Templates page and is not saved, and saving it without losing anybody's edit.

What a person types is kept per template in session state, beside the template as it was when the typing began. Saving
says which version that was, so an edit that someone else saved meanwhile is met, never overwritten unasked.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from router import RouterError, shared_router
from router.templates import Template

NEW = "\0new"
"""Stands for the template that is being written and has no name in the file yet."""

CHOICE = "template_choice"
BLANK = "{prompt}"
NOT_SAVED = "Not saved"
"""What a failure of `save` is called."""

_BEGUN_WITH = "template_begun_with"
_ASKING = "template_asking"
_DELETED = "template_deleted"
_PROBLEM = "template_problem"


def opened() -> dict[str, Template | None]:
    """For each name that was opened, the template as it was when the typing began."""
    found: dict[str, Template | None] = st.session_state.setdefault(_BEGUN_WITH, {})
    return found


def begin(name: str, on_disk: Template | None) -> Template | None:
    """Fill the fields unless something is typed in them. Where the typing began."""
    if not is_edited(name) and (name not in opened() or opened()[name] != on_disk):
        forget(name)
        opened()[name] = on_disk
    # Written only when they are missing: a browser takes a value that is written for newer than what is being typed.
    base = opened()[name]
    st.session_state.setdefault(name_key(name), base.name if base else "")
    st.session_state.setdefault(text_key(name), base.text if base else BLANK)
    return base


def is_edited(name: str) -> bool:
    """Whether something is typed for this name that is not saved."""
    if name not in opened():
        return False
    base = opened()[name]
    saved = (base.name, base.text) if base else ("", BLANK)
    return saved != (st.session_state.get(name_key(name), saved[0]), st.session_state.get(text_key(name), saved[1]))


def forget(name: str) -> None:
    """Let go of what was typed for this name."""
    for key in (name_key(name), text_key(name)):
        st.session_state.pop(key, None)
    opened().pop(name, None)


def name_key(name: str) -> str:
    """Where session state keeps the name that is typed for this template."""
    return f"template_name_{name}"


def text_key(name: str) -> str:
    """Where session state keeps the text that is typed for this template."""
    return f"template_text_{name}"


# What the buttons do. A callback runs before the page is drawn, so it may change what the fields hold.


def begin_new() -> None:
    """Open an empty template, or the one that was begun."""
    opened().setdefault(NEW, None)
    st.session_state[CHOICE] = NEW


def save(name: str) -> None:
    """Put what was typed in the place of what it began with."""
    save_over(name, opened().get(name), NOT_SAVED)


def save_over(name: str, base: Template | None, failure: str = "Still not saved") -> None:
    """Put what was typed in the place of `base`, which the person has seen; None: as a template of its own."""
    new_name, text = st.session_state[name_key(name)], st.session_state[text_key(name)]
    store = shared_router().templates

    def write() -> Template:
        if base is None:
            return store.save(new_name, text, base_version=None)
        return store.save(base.name, text, base_version=base.version, rename_to=new_name)

    saved = _attempt(write, failure)
    if saved:
        forget(name)
        st.session_state[CHOICE] = saved.name
        st.session_state.pop(_DELETED, None)
        st.toast("Saved.", icon=":material/check:")


def ask_deletion(name: str) -> None:
    """Have the next drawing of the page ask whether to delete."""
    st.session_state[_ASKING] = name


def asked_deletion() -> str | None:
    """The template to ask about, once."""
    name: str | None = st.session_state.pop(_ASKING, None)
    return name


def delete(template: Template) -> None:
    """Delete the version that the person has seen."""

    def write() -> Template:
        shared_router().templates.delete(template.name, base_version=template.version)
        return template

    if _attempt(write, "Not deleted"):
        forget(template.name)
        st.session_state[_DELETED] = template
    st.rerun()  # of the whole page: that closes the dialog


def deleted() -> Template | None:
    """What was deleted last and can come back."""
    template: Template | None = st.session_state.get(_DELETED)
    return template


def restore(template: Template) -> None:
    """Undo a deletion."""
    store = shared_router().templates
    if _attempt(lambda: store.save(template.name, template.text, base_version=None), "Not restored"):
        st.session_state.pop(_DELETED, None)
        st.session_state[CHOICE] = template.name


def problem() -> tuple[str, str] | None:
    """Title and reason of the last change that could not be made, once."""
    found: tuple[str, str] | None = st.session_state.pop(_PROBLEM, None)
    return found


def _attempt(change: Callable[[], Template], title: str) -> Template | None:
    try:
        return change()
    except RouterError as error:
        st.session_state[_PROBLEM] = (title, str(error))
        return None
