"""The server: the pages and the HTTP routes on one port."""

from pathlib import Path

import streamlit as st

from router import api

app = st.App(Path(__file__).parent / "pages" / "main.py", routes=api.routes, lifespan=api.lifespan)
