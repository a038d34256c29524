"""The log as a table: a page of it at a time, and the full text of the row that was chosen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

import pandas as pd
import streamlit as st

from pages.parts import answer, figures, turns
from pages.parts.markdown import safe
from router import LogUnavailable, RouterError, shared_router
from router.log.filter import Filter
from router.log.interaction import Interaction

PAGE_SIZE = 20
EXCERPT_CHARS = 120
_CHOSEN = "log_chosen"
_FILTERED = "log_filtered"
_CLOSED = "log_closed"


@st.fragment
def show(where: Filter, matching: int) -> None:
    """A page of the interactions that pass the filter. matching: how many do.

    A fragment: turning a page or reading a row leaves the charts alone.
    """
    pages = max(1, -(-matching // PAGE_SIZE))
    table = st.container()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(f"{figures.count(matching, 'interaction')}, newest first. Select a row to read it in full.")
        number = st.pagination(pages, key=f"log-page-{st.session_state.get(_FILTERED, 0)}", persist_state="session")
    try:
        rows = [logged.interaction for logged in shared_router().log.page(where, number, PAGE_SIZE)]
    except LogUnavailable as error:
        table.error(safe(str(error)), title="The log cannot be read")
        return
    ids = [row.prompt_id for row in rows]
    # Keyed by what it shows: were a new row to push the others down, the selection would name another one.
    key = f"log-{st.session_state.get(_CLOSED, 0)}-{sha256(''.join(ids).encode()).hexdigest()[:12]}"
    table.dataframe(
        _table(rows),
        hide_index=True,
        height="content",
        key=key,
        on_select=lambda: _choose(key, ids),
        selection_mode="single-row",
        column_config={
            "Time (UTC)": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm:ss", width=155),
            "Prompt": st.column_config.TextColumn(width=230),
            "Rating": st.column_config.NumberColumn(width=70),
        },
        placeholder="–",
        alt="Logged interactions, newest first",
    )
    if chosen := st.session_state.pop(_CHOSEN, None):
        _read_in_full(chosen)


def status_name(status: str) -> str:
    """A status as people read it."""
    return "OK" if status == "ok" else status.capitalize()


def back_to_first_page() -> None:
    """For a filter that has changed: what was page 5 is another one now."""
    st.session_state[_FILTERED] = st.session_state.get(_FILTERED, 0) + 1


def _choose(key: str, ids: Sequence[str]) -> None:
    # Noted here, with the rows that the person saw: those of the next run may be others.
    chosen = st.session_state[key].selection.rows
    if chosen:
        st.session_state[_CHOSEN] = ids[chosen[0]]


def _table(rows: Sequence[Interaction]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Time (UTC)": pd.to_datetime([row.timestamp[:19] for row in rows]),
            "Prompt": [_excerpt(row.prompt) for row in rows],
            "Model": [row.model for row in rows],
            "Status": [status_name(row.status) for row in rows],
            "Rating": pd.array([row.rating for row in rows], dtype="Int64"),
            "Latency": [figures.duration(row.latency_ms) for row in rows],
            "Tokens": [row.token_count for row in rows],
            "Cost": ["unknown" if row.cost_usd is None else figures.money(row.cost_usd) for row in rows],
            "Template": [row.template for row in rows],
        }
    )


def _excerpt(text: str) -> str:
    line = " ".join(text[: 2 * EXCERPT_CHARS].split())
    return line if len(line) <= EXCERPT_CHARS else line[: EXCERPT_CHARS - 1] + "…"


def _unselect() -> None:
    """So that the same row can be selected again."""
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, 0) + 1


@st.dialog("Interaction", width="medium", position="right", icon=":material/article:", on_dismiss=_unselect)
def _read_in_full(prompt_id: str) -> None:
    router = shared_router()
    try:
        logged = router.log.get(prompt_id)
        turn = turns.from_log(router, logged)
    except RouterError as error:
        st.error(safe(str(error)), title="This interaction cannot be read")
        return
    st.caption(f"{logged.timestamp[:19].replace('T', ' ')} UTC · asked for {safe(logged.requested_model)}")
    st.markdown("**Prompt**")
    _literal(logged.prompt)
    if logged.template:
        st.markdown(f"**Sent**, by the template {safe(logged.template)} as it was then")
        if turn.sent is None:
            st.caption("This log does not hold that version of the template: the interaction was imported.")
        else:
            _literal(turn.sent)
    if logged.system:
        st.markdown("**System prompt**")
        _literal(logged.system)
    st.markdown("**Response**")
    answer.show(turn)
    if logged.params:
        st.markdown("**Parameters**")
        _literal(json.dumps(logged.params, ensure_ascii=False, indent=2), "json")
    st.markdown("**Ids**")
    names = ("prompt_id", "conversation_id", "run_id", "parent_id", "template_version")
    _literal("\n".join(f"{name} {value}" for name in names if (value := getattr(logged, name))))


def _literal(text: str, language: str | None = None) -> None:
    """As typed: nothing in it is Markdown."""
    tall = len(text) > 1_500 or text.count("\n") > 14
    st.code(text, language=language, wrap_lines=True, height=300 if tall else "content")
