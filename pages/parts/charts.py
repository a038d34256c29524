"""The charts of the Analytics page. Times are UTC, as in the log."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from pages.parts import colors, figures

MOST_MODELS = 8
MOST_BUCKETS = 400
"""What a chart can show and a browser should get; the newest buckets win."""

_HEIGHT = 300
# Seven shapes against a palette of another length: two models that share a colour differ in shape.
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"]
_REQUESTS = alt.Tooltip("requests:Q", title="Requests", format=",d")


def show(over_time: pd.DataFrame) -> None:
    """Requests and latency by model, side by side where there is room.

    over_time: as `router.analysis.summary.over_time` returns it, with at least one row.
    """
    shown = bounded(over_time)
    models = sorted(shown["model"].unique())
    grid = st.grid(2, min_column_width=360, gap="medium")
    with grid.cell():
        st.subheader("Requests", anchor=False)
        busiest = shown.groupby("model")["requests"].sum().idxmax()
        st.altair_chart(_requests(shown, models), alt=f"Requests over time by model, most of them to {busiest}")
    with grid.cell():
        st.subheader("Latency", anchor=False)
        answered = shown.dropna(subset=["median_latency_ms"])
        if answered.empty:
            st.caption("Unknown: no request was answered to its end.")
        else:
            st.altair_chart(_latency(answered, models), alt=_latency_alt(answered))
    notes = ["Latency is the median of answers that came to their end. Times are UTC."]
    if shown["model"].nunique() < over_time["model"].nunique():
        notes.append(f"Only the {MOST_MODELS} busiest models are drawn.")
    if shown["time"].nunique() < over_time["time"].nunique():
        notes.append(f"Only the newest {MOST_BUCKETS} days are drawn.")
    st.caption(" ".join(notes))


def bounded(over_time: pd.DataFrame) -> pd.DataFrame:
    """The busiest models and the newest buckets."""
    busiest = over_time.groupby("model")["requests"].sum().nlargest(MOST_MODELS).index
    times = over_time["time"].drop_duplicates().nlargest(MOST_BUCKETS)
    return over_time[over_time["model"].isin(busiest) & over_time["time"].isin(times)]


def _requests(frame: pd.DataFrame, models: list[str]) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=_time(frame),
            y=alt.Y("requests:Q", title=None, axis=alt.Axis(tickMinStep=1, format="d")),
            color=_color(models),
            tooltip=[_time_tooltip(frame), alt.Tooltip("model:N", title="Model"), _REQUESTS],
        )
        .properties(height=_HEIGHT)
    )
    return chart


def _latency(frame: pd.DataFrame, models: list[str]) -> alt.Chart:
    readable = frame.assign(
        seconds=frame["median_latency_ms"] / 1000,
        median=frame["median_latency_ms"].map(figures.duration),
        p95=frame["p95_latency_ms"].map(figures.duration),
    )
    domain = colors.arranged(models)
    chart: alt.Chart = (
        alt.Chart(readable)
        .mark_line(point=alt.OverlayMarkDef(size=55, filled=True), strokeWidth=1.5)
        .encode(
            x=_time(frame),
            y=alt.Y("seconds:Q", title=None, axis=alt.Axis(labelExpr="datum.label + ' s'")),
            color=_color(models),
            shape=alt.Shape("model:N", legend=_legend(models), scale=alt.Scale(domain=domain, range=_SHAPES)),
            tooltip=[
                _time_tooltip(frame),
                alt.Tooltip("model:N", title="Model"),
                alt.Tooltip("median:N", title="Median"),
                alt.Tooltip("p95:N", title="95th percentile"),
                _REQUESTS,
            ],
        )
        .properties(height=_HEIGHT)
    )
    return chart


def _latency_alt(frame: pd.DataFrame) -> str:
    median = frame.groupby("model")["median_latency_ms"].median()
    return f"Median latency over time by model, lowest for {median.idxmin()}, highest for {median.idxmax()}"


def _time(frame: pd.DataFrame) -> alt.X:
    # As UTC: a day of the log must not become the evening before in a browser further west.
    return alt.X(f"{_unit(frame)}(time):T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(labelOverlap=True))


def _time_tooltip(frame: pd.DataFrame) -> alt.Tooltip:
    pattern = "%-d %b %Y" if _unit(frame) == "utcyearmonthdate" else "%-d %b %Y, %H:%M"
    return alt.Tooltip(f"{_unit(frame)}(time):T", title="Time", format=pattern)


def _unit(frame: pd.DataFrame) -> str:
    """How long a bucket is, read off the instants at which buckets begin."""
    time = frame["time"].dt
    if time.minute.any():
        return "utcyearmonthdatehoursminutes"
    return "utcyearmonthdatehours" if time.hour.any() else "utcyearmonthdate"


def _color(models: list[str]) -> alt.Color:
    return alt.Color("model:N", legend=_legend(models), scale=alt.Scale(domain=colors.arranged(models)))


def _legend(models: list[str]) -> alt.Legend:
    return alt.Legend(title=None, orient="bottom", values=models, columns=2, labelLimit=160)
