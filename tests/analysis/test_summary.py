from __future__ import annotations

import math

import pandas as pd
import pytest

from router.analysis.summary import Totals, by_model, over_time, ratings_by, totals
from router.log.filter import Filter
from router.log.store import LogStore
from tests.log.support import made_up

FILLED = [
    made_up(model="a", latency_ms=100.0, ttft_ms=10.0, cost_usd=0.5, rating=5, template="t", token_count=10),
    made_up(model="a", latency_ms=300.0, ttft_ms=None, cost_usd=None, rating=2, template="t", token_count=20),
    made_up(model="a", latency_ms=9.0, status="error", cost_usd=None, template=None, token_count=0),
    made_up(model="b", latency_ms=200.0, status="fallback", cost_usd=0.25, rating=4, template=None, token_count=30),
    made_up(model="b", latency_ms=7.0, status="stopped", cost_usd=0.0, template=None, token_count=5),
    made_up(model="b", latency_ms=8.0, status="interrupted", cost_usd=0.0, template=None, token_count=6),
]


@pytest.fixture
def filled(store: LogStore) -> LogStore:
    for number, one in enumerate(FILLED):
        store.append(made_up(**{**_columns(one), "timestamp": f"2026-10-0{1 + number // 3}T10:0{number}:00.000+00:00"}))
    return store


def _columns(one: object) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}  # type: ignore[attr-defined]


def test_totals_add_up_and_say_what_is_unknown(filled: LogStore) -> None:
    found = totals(filled)
    assert found == Totals(
        requests=6,
        fallback_rate=pytest.approx(1 / 6),
        error_rate=pytest.approx(1 / 6),
        stopped=1,
        interrupted=1,
        token_count=71,
        cost_usd=pytest.approx(0.75),
        unknown_cost=2,
        mean_rating=pytest.approx(11 / 3),
        rated=3,
    )


def test_an_empty_log_has_no_averages_rather_than_zeros(store: LogStore) -> None:
    assert totals(store) == Totals(0, None, None, 0, 0, 0, None, 0, None, 0)
    for frame, columns in (
        (by_model(store), {"model", "requests", "mean_latency_ms", "mean_ttft_ms", "mean_rating", "rated"}),
        (ratings_by(store), {"model", "template", "rated", "mean_rating", "stars_1", "stars_5"}),
        (over_time(store), {"time", "model", "requests", "mean_latency_ms", "p95_latency_ms", "cost_usd"}),
    ):
        assert frame.empty
        assert columns <= set(frame.columns)
    assert over_time(store).dtypes["requests"] == "int64"
    assert isinstance(over_time(store).dtypes["time"], pd.DatetimeTZDtype)


def test_latency_is_that_of_answers_that_came_to_their_end(filled: LogStore) -> None:
    models = by_model(filled).set_index("model")
    assert models.loc["a", "mean_latency_ms"] == pytest.approx(200)
    assert models.loc["a", "mean_ttft_ms"] == pytest.approx(10)
    assert models.loc["b", "mean_latency_ms"] == pytest.approx(200)
    assert list(models.requests) == [3, 3]
    assert models.loc["a", "error_rate"] == pytest.approx(1 / 3)
    assert models.loc["b", "fallback_rate"] == pytest.approx(1 / 3)
    assert models.loc["a", "unknown_cost"] == 2


def test_a_model_without_ratings_has_no_mean_rating(store: LogStore) -> None:
    store.append(made_up(rating=None))
    assert math.isnan(by_model(store).mean_rating[0])
    assert totals(store).mean_rating is None
    assert ratings_by(store).empty


def test_ratings_are_counted_per_model_and_template(filled: LogStore) -> None:
    rows = ratings_by(filled).to_dict("records")
    assert [(row["model"], row["rated"], row["mean_rating"]) for row in rows] == [("a", 2, 3.5), ("b", 1, 4.0)]
    assert rows[0]["template"] == "t"
    assert pd.isna(rows[1]["template"])
    assert [rows[0][f"stars_{n}"] for n in range(1, 6)] == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(("bucket", "buckets"), [("minute", 6), ("hour", 2), ("day", 2)])
def test_every_request_falls_into_one_bucket_of_time(filled: LogStore, bucket, buckets: int) -> None:  # type: ignore[no-untyped-def]
    frame = over_time(filled, bucket=bucket)
    assert frame.requests.sum() == 6
    assert frame.time.nunique() == buckets
    assert frame.token_count.sum() == 71
    assert frame.time.min() <= pd.Timestamp("2026-10-01T10:00:00Z")


def test_percentiles_over_time_are_nearest_rank(store: LogStore) -> None:
    for number in range(1, 101):
        store.append(made_up(latency_ms=float(number)))
    for _ in range(50):
        store.append(made_up(latency_ms=1e9, status="error"))
    (row,) = over_time(store).to_dict("records")
    assert (row["median_latency_ms"], row["p95_latency_ms"], row["mean_latency_ms"]) == (50.0, 95.0, 50.5)
    assert row["requests"] == 150


@pytest.mark.parametrize(
    ("last", "seconds_apart"), [("2026-10-01T14:59", 60), ("2026-10-03T12:00", 3600), ("2026-12-01T12:00", 86400)]
)
def test_the_bucket_fits_the_time_that_the_log_covers(store: LogStore, last: str, seconds_apart: int) -> None:
    store.append(made_up(timestamp="2026-10-01T12:34:56.789+00:00"))
    store.append(made_up(timestamp=f"{last}:59.000+00:00"))
    first_bucket = over_time(store).time.min()
    assert first_bucket == pd.Timestamp("2026-10-01T12:34:56Z").floor(f"{seconds_apart}s")


def test_a_summary_covers_only_what_passes_the_filter(filled: LogStore) -> None:
    only_a = Filter(models=("a",))
    assert totals(filled, only_a).requests == 3
    assert list(by_model(filled, only_a).model) == ["a"]
    assert set(over_time(filled, only_a).model) == {"a"}
    assert list(ratings_by(filled, only_a).model) == ["a"]
