"""The Analytics page's filters, and the numbers that pass them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from pages.parts import colors, figures, history
from pages.parts.controls import NO_TEMPLATE
from router import Router, RouterError, api, shared_router
from router.analysis import summary
from router.analysis.summary import Totals
from router.log.filter import Filter

CACHE_SECONDS = 5
"""How old a number on the page may be; clicks within that time cost no query."""

_EVER = "All time"
_RANGES = {
    "Last hour": timedelta(hours=1),
    "Last 24 hours": timedelta(days=1),
    "Last 7 days": timedelta(days=7),
    "Last 30 days": timedelta(days=30),
    _EVER: None,
}
_STATUSES = ["ok", "fallback", "stopped", "interrupted", "error"]
_FILTERS: dict[str, Any] = {
    "log_range": _EVER,
    "log_models": [],
    "log_templates": [],
    "log_statuses": [],
    "log_text": "",
}
_GROUPINGS = {"Model": ["model"], "Template": ["template"], "Model and template": ["model", "template"]}
_STARS = [f"stars_{n}" for n in range(1, 6)]
_MOST_ROWS = 200


def pick_filter(router: Router) -> Filter:
    """What the page is about. Kept from page to page. Raises LogUnavailable."""
    for key, value in _FILTERS.items():
        st.session_state.setdefault(key, value)
    span = st.selectbox(
        "Time range", list(_RANGES), key="log_range", on_change=history.back_to_first_page, persist_state="session"
    )
    since = _since(_RANGES[span])
    seen = by_model(Filter(since=since))["model"].unique()[:_MOST_ROWS].tolist()
    models = st.multiselect(
        "Models",
        # A choice that the log does not hold (any more, or in this range) stays a choice.
        list(dict.fromkeys([*seen, *st.session_state.log_models])),
        key="log_models",
        placeholder="All models",
        on_change=history.back_to_first_page,
        persist_state="session",
    )
    templates = st.multiselect(
        "Templates",
        list(dict.fromkeys([NO_TEMPLATE, *_template_names(router), *st.session_state.log_templates])),
        key="log_templates",
        accept_new_options=True,
        placeholder="All templates",
        help="One that was deleted meanwhile can be typed.",
        on_change=history.back_to_first_page,
        persist_state="session",
    )
    statuses = st.pills(
        "Status",
        _STATUSES,
        selection_mode="multi",
        key="log_statuses",
        format_func=history.status_name,
        on_change=history.back_to_first_page,
        persist_state="session",
    )
    text = st.text_input(
        "Search",
        key="log_text",
        type="search",
        placeholder="In prompts and responses",
        on_change=history.back_to_first_page,
        persist_state="session",
    )
    return Filter(
        since=since,
        models=tuple(models),
        templates=tuple(None if name == NO_TEMPLATE else name for name in templates),
        statuses=tuple(statuses),
        text=text or None,
    )


def _clear_filter() -> None:
    st.session_state.update(_FILTERS)
    history.back_to_first_page()


def _since(span: timedelta | None) -> str | None:
    # Whole minutes, so that the same filter finds the same cache entry. Text as in the log, which compares it as text.
    return (datetime.now(UTC) - span).strftime("%Y-%m-%dT%H:%M") if span else None


def _template_names(router: Router) -> list[str]:
    try:
        return list(router.templates.all())
    except RouterError:
        return []  # the Templates page says what is wrong with them


@st.cache_data(ttl=CACHE_SECONDS, max_entries=50, show_spinner=False)
def totals(where: Filter) -> Totals:
    """See `summary.totals`."""
    return summary.totals(shared_router().log, where)


@st.cache_data(ttl=CACHE_SECONDS, max_entries=50, show_spinner=False)
def over_time(where: Filter) -> pd.DataFrame:
    """See `summary.over_time`."""
    return summary.over_time(shared_router().log, where)


@st.cache_data(ttl=CACHE_SECONDS, max_entries=50, show_spinner=False)
def by_model(where: Filter) -> pd.DataFrame:
    """See `summary.by_model`."""
    return summary.by_model(shared_router().log, where)


@st.cache_data(ttl=CACHE_SECONDS, max_entries=50, show_spinner=False)
def ratings(where: Filter) -> pd.DataFrame:
    """See `summary.ratings_by`."""
    return summary.ratings_by(shared_router().log, where)


def show_totals(found: Totals) -> None:
    """Six cards. An unknown is a word, not a number."""
    cost = figures.money(found.cost_usd) if found.cost_usd is not None else "Unknown"
    cards = (
        ("Requests", f"{found.requests:,}", f"{found.stopped:,} stopped, {found.interrupted:,} interrupted", None),
        ("Fallback rate", _share(found.fallback_rate), "Another provider answered", None),
        ("Error rate", _share(found.error_rate), "Nobody answered", None),
        (
            "Tokens",
            f"{found.token_count:,}",
            "Prompts and answers",
            "Reported by the provider where it reports them, otherwise counted by tiktoken or estimated. "
            "Each answer says which.",
        ),
        (
            "Cost",
            cost.replace("$", r"\$"),
            f"{figures.count(found.unknown_cost, 'request')} without a known cost",
            "Tokens that the provider reported, at the price of their day. Without either, a cost is unknown.",
        ),
        (
            "Mean rating",
            "Unknown" if found.mean_rating is None else f"{found.mean_rating:.2f}",
            f"n = {found.rated:,}, from 1 to 5",
            None,
        ),
    )
    grid = st.grid(6, min_column_width=150, gap="small", border=True)
    for label, value, note, source in cards:
        with grid.cell(), st.container(gap=None):
            st.metric(label, value, help=source)
            st.caption(note)


def _share(share: float | None) -> str:
    return "Unknown" if share is None else f"{share:.1%}"


def show_models(found: pd.DataFrame) -> None:
    """One row per model. found: as `summary.by_model` returns it, with at least one row."""
    shown = found.head(_MOST_ROWS)
    table = pd.DataFrame(
        {
            "Model": _badges(shown["model"]),
            "Requests": shown["requests"],
            "Mean latency": shown["mean_latency_ms"].map(_known_duration),
            "First token": shown["mean_ttft_ms"].map(_known_duration),
            "Tokens": shown["token_count"],
            "Cost": [
                _cost(cost, unknown, requests)
                for cost, unknown, requests in zip(
                    shown["cost_usd"], shown["unknown_cost"], shown["requests"], strict=True
                )
            ],
            "As fallback": shown["fallback_rate"],
            "Interrupted": shown["interrupted_rate"],
            "Errors": shown["error_rate"],
        }
    )
    share = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        table,
        hide_index=True,
        height="content" if len(table) <= 10 else "auto",
        column_config={
            "Model": _model_column(shown["model"]),
            "Requests": st.column_config.NumberColumn(format="localized"),
            "Tokens": st.column_config.NumberColumn(format="localized"),
            "As fallback": share,
            "Interrupted": share,
            "Errors": share,
        },
        alt="Requests, latency, tokens, cost and errors by model",
    )


def _cost(cost: float, unknown: int, requests: int) -> str:
    if unknown == requests:
        return "unknown"
    return figures.money(cost) + (f" + {unknown:,} unknown" if unknown else "")


def _known_duration(milliseconds: float) -> str:
    return figures.duration(None if pd.isna(milliseconds) else milliseconds)


@st.fragment
def show_ratings(found: pd.DataFrame) -> None:
    """Mean, n and distribution. found: as `summary.ratings_by` returns it; it may be empty."""
    if found.empty:
        st.caption("Nothing is rated yet. The slider under an answer, in Chat or Compare, rates it from 1 to 5.")
        return
    grouping = st.segmented_control(
        "Group by", list(_GROUPINGS), default="Model", key="log_grouping", required=True, persist_state="session"
    )
    keys = _GROUPINGS[grouping or "Model"]
    named = found.assign(template=found["template"].fillna(NO_TEMPLATE))
    grouped = named.groupby(keys, as_index=False)[_STARS].sum()
    grouped["rated"] = grouped[_STARS].sum(axis=1)
    grouped["mean"] = sum(stars * grouped[name] for stars, name in enumerate(_STARS, start=1)) / grouped["rated"]
    grouped = grouped.sort_values(["rated", "mean"], ascending=False).head(_MOST_ROWS)
    table = pd.DataFrame({"Mean": grouped["mean"], "n": grouped["rated"], "1 to 5": grouped[_STARS].values.tolist()})
    if "template" in keys:
        table.insert(0, "Template", grouped["template"])
    if "model" in keys:
        table.insert(0, "Model", _badges(grouped["model"]))
    st.dataframe(
        table,
        hide_index=True,
        height="content" if len(table) <= 10 else "auto",
        column_config={
            "Model": _model_column(named["model"]),
            "Mean": st.column_config.ProgressColumn(format="%.2f", min_value=0, max_value=5, color="gray"),
            "n": st.column_config.NumberColumn(help="How many ratings the mean is of."),
            "1 to 5": st.column_config.BarChartColumn(
                y_min=0, color="gray", help="How many ratings of 1, 2, 3, 4 and 5."
            ),
        },
        alt=f"Ratings by {(grouping or 'model').lower()}: mean, number and distribution",
    )


def _badges(models: pd.Series) -> list[list[str]]:
    return [[model] for model in models]


def _model_column(models: pd.Series) -> Any:
    options = colors.arranged(models)
    return st.column_config.MultiselectColumn("Model", options=options, color="auto", pinned=True)


@st.fragment(run_every=api.LINK_SECONDS // 2)
def show_downloads() -> None:
    """Links to the whole log. Renewed in time, for the page that stays open."""
    st.subheader("The whole log", anchor=False)
    with st.container(horizontal=True):
        for label, path in (("Download CSV", "/logs/prompts.csv"), ("Download JSON", "/logs/prompts.json")):
            st.link_button(label, api.signed_link(path, {}), icon=":material/download:", key=f"link-{path}")
    st.caption("Everything, whatever the filters say. The CSV is for people and spreadsheets, the JSON is exact.")


def explain_nothing_logged() -> None:
    """The first minute: what will be here, and how to get there."""
    with st.container(border=True):
        st.subheader("Nothing to analyse yet", anchor=False)
        st.write(
            "Every request is logged: its model, its time, its tokens, its cost, and your rating. "
            "Ask something, rate the answers, and the charts begin here."
        )
        with st.container(horizontal=True):
            st.page_link("chat.py", label="Ask in Chat", icon=":material/chat:")
            st.page_link("compare.py", label="Put models side by side", icon=":material/view_column:")


def explain_no_match() -> None:
    """The filters leave nothing."""
    with st.container(border=True):
        st.write("No logged request passes these filters.")
        st.button("Clear the filters", icon=":material/filter_alt_off:", on_click=_clear_filter)
