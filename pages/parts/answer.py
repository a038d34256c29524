"""One answer: its text, a badge if something happened, one quiet line of figures, details, and the rating slider."""

from __future__ import annotations

import streamlit as st

from pages.parts import figures
from pages.parts.markdown import safe
from pages.parts.turns import Turn
from router import Answer, RouterError, shared_router
from router.types import Attempt

UNRATED = "Not rated"
_REASONS = {
    "not_configured": "is not configured",
    "authentication": "refused the key",
    "model_not_found": "does not have the model",
    "bad_request": "refused the request",
    "context_too_long": "found the prompt too long",
    "content_blocked": "blocked the content",
    "rate_limited": "was rate limited",
    "overloaded": "was overloaded",
    "server_error": "had a server error",
    "timeout": "was too slow",
    "connection": "could not be reached",
    "malformed_response": "sent something unreadable",
    "interrupted": "broke off",
}
_ICONS = {
    "ok": "check_circle",
    "failed": "error",
    "skipped": "skip_next",
    "stopped": "stop_circle",
    "interrupted": "cut",
}


def show(turn: Turn) -> None:
    """The whole card."""
    if turn.answer.text:
        st.markdown(safe(turn.answer.text))
    show_outcome(turn.answer, turn.error)
    show_controls(turn)


def show_outcome(answer: Answer, error: str | None) -> None:
    """What became of the request, below the text: an error or a badge if there is one, and the quiet line."""
    if answer.status == "error":
        st.error(safe(error or "Nobody answered."), title="No answer", icon=":material/error:")
    elif not answer.text and answer.status != "stopped":
        st.info(safe(error or f"The model sent no text (finish reason: {answer.finish_reason or 'none'})."))
    label = badge(answer)
    if label:
        st.badge(safe(label), icon=":material/info:", color="orange" if answer.status == "fallback" else "gray")
    st.caption(safe(figures.summary(answer)))


def show_controls(turn: Turn) -> None:
    """Details on demand, and the rating."""
    _details(turn.answer)
    if turn.answer.text:
        rate(turn)


def badge(answer: Answer) -> str | None:
    """What happened, when something did."""
    if answer.status == "stopped":
        return "Stopped"
    failed = [attempt for attempt in answer.attempts if attempt.outcome not in ("ok", "stopped")]
    if answer.status == "interrupted":
        return f"Interrupted: {place(answer.provider, answer.model)} broke off" if answer.attempts else "Interrupted"
    if answer.finish_reason == "length":
        return "Cut off at max tokens"
    if answer.status == "fallback" and failed:
        return f"Served by {place(answer.provider, answer.model)}: {reason(failed[0])}"
    return None


def reason(attempt: Attempt) -> str:
    """Why an attempt failed, in a few words."""
    return f"{place(attempt.provider, attempt.model)} {_REASONS.get(attempt.kind or '', 'failed')}"


def place(provider: str, model: str) -> str:
    """A provider within a sentence; the demo's models are told apart."""
    return f"{label_of(provider)} ({model})" if provider == "demo" else label_of(provider)


def label_of(provider: str) -> str:
    """A provider as people read it; one that is no longer there keeps its name."""
    known = shared_router().providers.get(provider)
    return known.label if known else provider


def rate(turn: Turn) -> None:
    """The slider. Moving it saves; its first position is no rating."""
    key = f"rating-{turn.answer.prompt_id}"
    st.session_state.setdefault(key, turn.rating or UNRATED)
    st.select_slider(
        "Rating",
        [UNRATED, 1, 2, 3, 4, 5],
        key=key,
        on_change=_save_rating,
        args=(turn, key),
        help="1 is useless, 5 is perfect. Saved as you move it.",
        width=320,
    )


def _save_rating(turn: Turn, key: str) -> None:
    chosen = st.session_state[key]
    rating = chosen if isinstance(chosen, int) else None
    try:
        shared_router().rate(turn.answer.prompt_id, rating)
    except RouterError as error:
        st.session_state[key] = turn.rating or UNRATED
        st.toast(safe(f"The rating could not be saved. {error}"), icon=":material/error:")
    else:
        turn.rating = rating


def _details(answer: Answer) -> None:
    if not answer.attempts:
        return
    label = figures.count(len(answer.attempts), "attempt") if len(answer.attempts) > 1 else "Details"
    details = st.expander(label, type="compact", key=f"details-{answer.prompt_id}", on_change="rerun")
    if not details.open:
        return
    with details:
        for attempt in answer.attempts:
            took = "" if attempt.outcome == "skipped" else f" · {figures.duration(attempt.latency_ms)}"
            heading = f"{label_of(attempt.provider)} · {attempt.model} · {attempt.outcome}{took}"
            icon = f":material/{_ICONS[attempt.outcome]}:"
            with st.expander(safe(heading), expanded=True, type="step", icon=icon):
                plain = "Answered." if attempt.outcome == "ok" else "Ended before it was complete."
                st.caption(safe(attempt.message or plain))
        prompt_tokens = figures.count(answer.usage.prompt_tokens, "token")
        answer_tokens = figures.count(answer.usage.completion_tokens, "token")
        st.caption(f"Prompt {prompt_tokens}, answer {answer_tokens}. Prompt id `{answer.prompt_id}`")
