"""What the log says: totals, models over time, ratings, and every interaction."""

import streamlit as st

from pages.parts import analytics, charts, controls, history
from pages.parts.markdown import safe
from router import LogUnavailable, shared_router

router = shared_router()
st.title("Analytics", anchor=False)
controls.show_cooling(router.cooling())

try:
    if not router.log.page(size=1):
        analytics.explain_nothing_logged()
        st.stop()

    with st.sidebar:
        where = analytics.pick_filter(router)
    found = analytics.totals(where)

    if not found.requests:
        analytics.explain_no_match()
    else:
        analytics.show_totals(found)
        charts.show(analytics.over_time(where))

        st.subheader("Models", anchor=False)
        analytics.show_models(analytics.by_model(where))

        st.subheader("Ratings", anchor=False)
        analytics.show_ratings(analytics.ratings(where))

        st.subheader("Interactions", anchor=False)
        history.show(where, found.requests)
except LogUnavailable as error:
    st.error(safe(str(error)), title="The log cannot be read")
    st.button("Try again", icon=":material/refresh:")

analytics.show_downloads()
