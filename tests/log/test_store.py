from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.errors import UnknownPrompt
from router.log import schema
from router.log.filter import Filter
from router.log.rows import clean
from router.log.status import LogStatus
from router.log.store import LogStore
from tests.log.support import made_up


def test_an_interaction_is_read_back_exactly_as_it_was_appended(store: LogStore) -> None:
    full = made_up(system="Be kind.", parent_id="p0", error="late", rating=4)
    bare = made_up(ttft_ms=None, cost_usd=None, template=None, template_version=None, conversation_id=None, params={})
    store.append(full)
    store.append(bare)
    assert store.get(full.prompt_id) == full
    assert store.get(bare.prompt_id) == bare
    assert store.status().ok


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(alphabet=st.characters(codec=None, exclude_categories=())),
    number=st.floats(),
)
def test_any_text_and_number_is_stored_whole_or_replaced_at_the_door(store: LogStore, text: str, number: float) -> None:
    given = made_up(prompt=text, response=text * 3, params={"text": text, "number": number}, cost_usd=number)
    store.append(given)
    kept = store.get(given.prompt_id)
    assert kept.prompt == clean(text)
    assert kept.response == clean(text * 3)
    assert kept.params == clean({"text": text, "number": number})
    assert kept.cost_usd == clean(number)
    assert store.status().lost == 0


def test_lone_surrogates_nul_and_not_a_number_are_replaced() -> None:
    assert clean({"a": ["x\ud800y", "n\0l"], "b": float("nan"), "c": float("inf"), "d": 1.5}) == {
        "a": ["x\ufffdy", "n\ufffdl"],
        "b": None,
        "c": None,
        "d": 1.5,
    }


def test_a_rating_is_kept_overwritten_and_withdrawn(store: LogStore) -> None:
    one = made_up()
    store.append(one)
    for rating in (5, 1, None, 3):
        store.rate(one.prompt_id, rating)
        assert store.get(one.prompt_id) == replace(one, rating=rating)


def test_an_unknown_prompt_says_so(store: LogStore) -> None:
    with pytest.raises(UnknownPrompt, match="nobody"):
        store.rate("nobody", 5)
    with pytest.raises(UnknownPrompt, match="nobody"):
        store.get("nobody")


def test_appending_the_same_prompt_id_again_changes_nothing(store: LogStore) -> None:
    one = made_up()
    store.append(one)
    store.append(replace(one, response="another"))
    assert [row.interaction for row in store.rows()] == [one]
    assert store.status().ok


def test_a_conversation_comes_back_in_order_and_alone(store: LogStore) -> None:
    mine = [made_up(conversation_id="mine", prompt=str(n)) for n in range(5)]
    for one in mine:
        store.append(one)
        store.append(made_up(conversation_id="other"))
    assert store.conversation("mine") == mine
    assert store.conversation("none") == []


def test_the_text_of_a_template_version_is_kept_once(store: LogStore) -> None:
    store.append(made_up(template_version="v1"), template_text="Say {prompt}\0")
    store.append(made_up(template_version="v1"), template_text="never mind")
    store.append(made_up(template_version="v2"), template_text="Shout {prompt}")
    store.append(made_up(template_version="v3"))
    assert [store.template_text(version) for version in ("v1", "v2", "v3")] == [
        "Say {prompt}\ufffd",
        "Shout {prompt}",
        None,
    ]


def test_pages_are_newest_first_and_hold_every_row_once(store: LogStore) -> None:
    logged = [made_up(timestamp=f"2026-10-01T12:00:{n:02}.000+00:00") for n in range(25)]
    for one in logged:
        store.append(one)
    pages = [store.page(number=number, size=10) for number in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert [row.interaction for page in pages for row in page] == logged[::-1]
    assert [row.seq for row in pages[0]] == list(range(25, 15, -1))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(), "abcd"),
        (Filter(since="2026-10-02"), "bcd"),
        (Filter(until="2026-10-03"), "ab"),
        (Filter(models=("m1", "m2")), "abc"),
        (Filter(providers=("gemini",)), "d"),
        (Filter(statuses=("error", "fallback")), "bd"),
        (Filter(runs=("r2", "r3")), "d"),
        (Filter(templates=("t1",)), "a"),
        (Filter(templates=(None,)), "cd"),
        (Filter(templates=(None, "t1")), "acd"),
        (Filter(ratings=(5,)), "a"),
        (Filter(rated=True), "ab"),
        (Filter(rated=False), "cd"),
        (Filter(text="GRAVITY"), "abc"),
        (Filter(text="100%"), "d"),
        (Filter(text="nothing like it"), ""),
        (Filter(models=("m1",), rated=False, text="gravity"), "c"),
    ],
)
def test_a_filter_lets_through_exactly_what_it_says(store: LogStore, where: Filter, expected: str) -> None:
    for one in (
        made_up(prompt_id="a", timestamp="2026-10-01T10:00:00+00:00", model="m1", template="t1", rating=5),
        made_up(
            prompt_id="b", timestamp="2026-10-02T10:00:00+00:00", model="m2", status="fallback", rating=2, template="t2"
        ),
        made_up(
            prompt_id="c",
            prompt="Why?",
            timestamp="2026-10-03T10:00:00+00:00",
            model="m1",
            template=None,
            response="Gravity.",
        ),
        made_up(
            prompt_id="d",
            timestamp="2026-10-04T10:00:00+00:00",
            model="m3",
            template=None,
            provider="gemini",
            run_id="r2",
            status="error",
            prompt="100% sure",
            response="1000 things",
        ),
    ):
        store.append(one)
    assert "".join(row.interaction.prompt_id for row in store.rows(where)) == expected
    assert store.count(where) == len(expected)
    assert "".join(row.interaction.prompt_id for row in store.page(where)) == expected[::-1]


def test_two_stores_on_one_database_see_each_other(open_store: Callable[..., LogStore]) -> None:
    here, there = open_store(mirror=False), open_store(mirror=False)
    one = made_up()
    here.append(one)
    there.rate(one.prompt_id, 4)
    assert here.get(one.prompt_id).rating == 4
    assert [row.seq for row in there.rows()] == [1]


def test_migrations_run_once_and_make_the_tables_that_the_code_speaks_of(open_store: Callable[..., LogStore]) -> None:
    stores = [open_store(mirror=False) for _ in range(3)]
    with stores[0]._database.reading() as connection:
        assert connection.execute(sa.text("SELECT version FROM schema_version")).all() == [(len(schema.MIGRATIONS),)]
        assert len(connection.execute(sa.select(schema.clock)).all()) == 1
        found = sa.inspect(connection)
        for table in (schema.clock, schema.interactions, schema.started, schema.template_versions):
            assert [column["name"] for column in found.get_columns(table.name)] == table.c.keys()


def test_what_no_row_can_hold_is_asked_for_in_vain(store: LogStore) -> None:
    store.append(made_up())
    for odd in ("a\0b", "\ud800"):
        where = Filter(text=odd, models=(odd,), runs=(odd,), templates=(odd, None), since=odd, until=odd)
        assert store.count(where) == 0
        assert list(store.rows(where)) == store.page(where) == store.conversation(odd) == store.run(odd) == []
        assert store.template_text(odd) is None


def test_a_clock_that_someone_else_set_back_is_set_right(store: LogStore) -> None:
    rows = [made_up() for _ in range(3)]
    for one in rows[:2]:
        store.append(one)
    with store._database.writing() as connection:
        connection.execute(schema.clock.update().values(seq=1))
    store.append(rows[2])
    assert store.status() == LogStatus(ok=True)
    assert [row.interaction for row in store.rows()] == rows
