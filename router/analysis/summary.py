"""The numbers behind the charts, computed by the database and returned as small tables.

An average over nothing is None (NaN in a frame), never 0. Latencies are those of answers that came to their end
(`ok` and `fallback`): a failure is fast and a stopped answer is short, and either would flatter a model.
Costs are in US dollars and add up what is known; `unknown_cost` counts the requests without a price.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import pandas as pd
import sqlalchemy as sa

from router.log.filter import Filter
from router.log.reader import EVERYTHING, LogReader
from router.log.schema import interactions

Bucket = Literal["minute", "hour", "day"]

_column = interactions.c
_ANSWERED = ("ok", "fallback")
_TEXTS = ("time", "model", "provider", "template")
_COUNTS = ("requests", "rated", "stars_", "token_count", "unknown_cost")
# Timestamps are ISO 8601 text, so a bucket is a prefix; what is missing makes it an instant again.
_BUCKETS: dict[Bucket, tuple[int, str]] = {"minute": (16, ":00Z"), "hour": (13, ":00:00Z"), "day": (10, "T00:00:00Z")}


@dataclass(frozen=True, slots=True)
class Totals:
    """All requests of a filter in one line. Rates are shares from 0 to 1, None when there was no request.

    cost_usd: None when not a single cost is known. mean_rating: None when nothing is rated.
    """

    requests: int
    fallback_rate: float | None
    error_rate: float | None
    stopped: int
    interrupted: int
    token_count: int
    cost_usd: float | None
    unknown_cost: int
    mean_rating: float | None
    rated: int


def totals(store: LogReader, where: Filter = EVERYTHING) -> Totals:
    """Requests, rates, tokens, cost and rating of everything that passes the filter. Raises LogUnavailable."""
    statement = sa.select(
        sa.func.count(_column.seq).label("requests"),
        _share_of("fallback").label("fallback_rate"),
        _share_of("error").label("error_rate"),
        sa.func.count(sa.case((_column.status == "stopped", 1))).label("stopped"),
        sa.func.count(sa.case((_column.status == "interrupted", 1))).label("interrupted"),
        _sum(_column.token_count).label("token_count"),
        *_cost_and_rating(),
    ).where(*where.conditions())
    return Totals(**store.read(statement)[0]._mapping)


def by_model(store: LogReader, where: Filter = EVERYTHING) -> pd.DataFrame:
    """One row per model that served, most requests first. Raises LogUnavailable.

    Columns: model, provider, requests, mean_latency_ms, mean_ttft_ms, token_count, cost_usd, unknown_cost,
    fallback_rate (share of its requests that it served in place of another), interrupted_rate, error_rate,
    mean_rating, rated.
    """
    statement = (
        sa.select(
            _column.model,
            _column.provider,
            sa.func.count(_column.seq).label("requests"),
            sa.func.avg(_when_answered(_column.latency_ms)).label("mean_latency_ms"),
            sa.func.avg(_when_answered(_column.ttft_ms)).label("mean_ttft_ms"),
            _sum(_column.token_count).label("token_count"),
            _share_of("fallback").label("fallback_rate"),
            _share_of("interrupted").label("interrupted_rate"),
            _share_of("error").label("error_rate"),
            *_cost_and_rating(),
        )
        .where(*where.conditions())
        .group_by(_column.model, _column.provider)
        .order_by(sa.desc("requests"), _column.model)
    )
    return _frame(store, statement)


def ratings_by(store: LogReader, where: Filter = EVERYTHING) -> pd.DataFrame:
    """Ratings per model and template, only where there are any; missing for "without". Raises LogUnavailable.

    Columns: model, template, rated, mean_rating, and stars_1 … stars_5: how many ratings of each.
    """
    stars = [sa.func.count(sa.case((_column.rating == n, 1))).label(f"stars_{n}") for n in range(1, 6)]
    statement = (
        sa.select(
            _column.model,
            _column.template,
            sa.func.count(_column.rating).label("rated"),
            _mean_rating().label("mean_rating"),
            *stars,
        )
        .where(*where.conditions(), _column.rating.is_not(None))
        .group_by(_column.model, _column.template)
        .order_by(_column.model, _column.template)
    )
    return _frame(store, statement)


def over_time(store: LogReader, where: Filter = EVERYTHING, bucket: Bucket | None = None) -> pd.DataFrame:
    """One row per time bucket and model, oldest first. Raises LogUnavailable.

    bucket: None chooses by the time that the log covers: minutes up to three hours, hours up to four days, then days.
    Columns: time (start of the bucket, UTC), model, requests, mean_latency_ms, median_latency_ms, p95_latency_ms,
    token_count, cost_usd. Percentiles are nearest-rank: the smallest latency that so many per cent do not exceed.
    """
    length, rest = _BUCKETS[bucket or _fitting_bucket(store, where)]
    time = sa.func.substr(_column.timestamp, 1, length).label("time")
    latency = _when_answered(_column.latency_ms)
    # One pass: in its bucket each answer knows its rank by latency (the unanswered come last) and how many there are.
    ranked = (
        sa.select(
            time,
            _column.model,
            _column.token_count,
            _column.cost_usd,
            latency.label("latency"),
            sa.func.row_number()
            .over(partition_by=(time, _column.model), order_by=(latency.is_(None), latency))
            .label("rank"),
            sa.func.count(latency).over(partition_by=(time, _column.model)).label("answered"),
        )
        .where(*where.conditions())
        .subquery()
    )
    column = ranked.c
    statement = (
        sa.select(
            column.time,
            column.model,
            sa.func.count().label("requests"),
            sa.func.avg(column.latency).label("mean_latency_ms"),
            sa.func.min(sa.case((column.rank * 100 >= column.answered * 50, column.latency))).label(
                "median_latency_ms"
            ),
            sa.func.min(sa.case((column.rank * 100 >= column.answered * 95, column.latency))).label("p95_latency_ms"),
            _sum(column.token_count).label("token_count"),
            sa.func.sum(column.cost_usd).label("cost_usd"),
        )
        .group_by(column.time, column.model)
        .order_by(column.time, column.model)
    )
    frame = _frame(store, statement)
    frame["time"] = pd.to_datetime(frame["time"] + rest, utc=True)
    return frame


def _fitting_bucket(store: LogReader, where: Filter) -> Bucket:
    statement = sa.select(sa.func.min(_column.timestamp), sa.func.max(_column.timestamp)).where(*where.conditions())
    first, last = tuple(store.read(statement)[0])
    if first is None:
        return "day"
    covered = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    if covered <= timedelta(hours=3):
        return "minute"
    return "hour" if covered <= timedelta(days=4) else "day"


def _share_of(status: str) -> sa.ColumnElement[Any]:
    return sa.func.avg(
        sa.case((_column.status == status, sa.literal(1.0, sa.Double)), else_=sa.literal(0.0, sa.Double))
    )


def _when_answered(value: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.case((_column.status.in_(_ANSWERED), value))


def _mean_rating() -> sa.ColumnElement[Any]:
    return sa.func.avg(sa.cast(_column.rating, sa.Double))


def _sum(counts: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(sa.func.sum(counts), 0)


def _cost_and_rating() -> tuple[sa.ColumnElement[Any], ...]:
    return (
        sa.func.sum(_column.cost_usd).label("cost_usd"),
        (sa.func.count(_column.seq) - sa.func.count(_column.cost_usd)).label("unknown_cost"),
        _mean_rating().label("mean_rating"),
        sa.func.count(_column.rating).label("rated"),
    )


def _frame(store: LogReader, statement: sa.Select[Any]) -> pd.DataFrame:
    names = list(statement.selected_columns.keys())
    frame = pd.DataFrame([tuple(row) for row in store.read(statement)], columns=names)
    # Said outright, because pandas cannot tell the type of a column that is empty or all None.
    numbers = {name: "int64" if name.startswith(_COUNTS) else "float64" for name in names if name not in _TEXTS}
    return frame.astype(numbers)
