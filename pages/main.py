"""The frame around every page: its title, the navigation, and what holds for all of them."""

from pathlib import Path

import streamlit as st

from pages.parts import live, notices

# A file of our own: the icons that Streamlit offers would be fetched from elsewhere.
icon = Path(__file__).parent / "parts" / "icon.png"
st.set_page_config(page_title="llm-router playground", page_icon=str(icon), layout="wide")
page = st.navigation(
    [
        st.Page("chat.py", title="Chat", icon=":material/chat:", default=True),
        st.Page("compare.py", title="Compare", icon=":material/view_column:"),
        st.Page("analytics.py", title="Analytics", icon=":material/monitoring:"),
        st.Page("templates.py", title="Templates", icon=":material/description:"),
    ],
    position="top",
)
live.enter(page.url_path or "chat")
notices.show()
page.run()
