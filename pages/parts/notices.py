"""What every page says first when something holds for all of them: demo answers, a wrong setting, a log in trouble."""

from __future__ import annotations

import streamlit as st

from pages.parts import figures
from pages.parts.markdown import safe
from router import RouterError, SettingsError, shared_router


def show() -> None:
    """Draw the notices. Stops the page when no router can be built."""
    try:
        router = shared_router()
    except SettingsError as error:
        st.error(f"`{error.setting}` cannot be used. Change it in `.env`, then reload.", title="A setting is wrong")
        st.code(str(error), language=None, wrap_lines=True)
        st.stop()
    if not any(choice.configured for choice in router.models() if choice.provider != "demo"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("Demo", icon=":material/science:", color="orange")
            st.caption("Demo answers: add `GROQ_API_KEY` or `GEMINI_API_KEY` to `.env` and restart for real ones.")
    try:
        status = router.log.status()
    except RouterError as error:
        st.warning(safe(str(error)), title="The log is not available")
        return
    if status.notice:
        st.warning(safe(status.notice), title="The log was begun anew")
    if status.lost:
        st.warning(f"{figures.count(status.lost, 'interaction')} could not be kept.", title="The log is incomplete")
    if status.since:
        since = status.since[:19].replace("T", " ")
        waiting = f" {status.pending} waiting in memory." if status.pending else ""
        st.warning(
            safe(f"{(status.reason or '').rstrip('.')}.{waiting}"), title=f"Logging is degraded since {since} UTC"
        )
