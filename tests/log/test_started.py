from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from router.log import schema
from router.log.started import Beginning
from router.log.store import LogStore
from tests.log.support import assert_files_equal_table, made_up, wait_until


def test_a_request_that_began_and_ended_leaves_only_its_row(open_store: Callable[..., LogStore]) -> None:
    first = open_store(mirror=False)
    one = made_up()
    first.begin(replace(one, response="", status="interrupted"), None, lasts_s=60)
    first.keep(one.prompt_id)
    second = open_store(mirror=False)
    assert second.count() == 0, "its process still lives"
    first.append(one)
    assert first.read(sa.select(schema.started)) == []
    first.close()
    third = open_store(mirror=False)
    assert [row.interaction for row in third.rows()] == [one]


def test_a_request_whose_process_ended_in_mid_answer_becomes_interrupted(open_store: Callable[..., LogStore]) -> None:
    first = open_store(mirror=False)
    one = made_up(status="ok", response="", rating=None)
    first.begin(one, "Say it as a friend: {prompt}", lasts_s=60)
    first.keep(one.prompt_id)
    first.close()
    later = open_store(mirror=False)
    kept = later.get(one.prompt_id)
    assert kept.status == "interrupted"
    assert kept.prompt == one.prompt
    assert kept.params == one.params
    assert "process ended" in (kept.error or "")
    assert later.template_text("v1") == "Say it as a friend: {prompt}"
    later.close()
    assert open_store(mirror=False).count() == 1, "only once"


def test_a_request_that_goes_on_is_kept_without_being_asked_for(store: LogStore) -> None:
    one = made_up()
    store.begin(one, None, lasts_s=60)
    wait_until(lambda: [row.prompt_id for row in store.read(sa.select(schema.started))] == [one.prompt_id], within_s=5)


def test_a_request_that_ends_at_once_costs_no_second_transaction(store: LogStore) -> None:
    store.append(made_up())
    commits: list[str] = []
    sa.event.listen(store._database._open().engine, "commit", lambda _: commits.append(threading.current_thread().name))
    with (
        store._outbox.turn
    ):  # so that the thread of the beginnings finds each request ended, however slow this machine is
        for number in range(20):
            store.begin(made_up(prompt_id=f"fast-{number}"), None, lasts_s=60)
            store.append(made_up(prompt_id=f"fast-{number}"))
    assert store.count() == 21
    assert len(commits) == 20
    assert store.read(sa.select(schema.started)) == []


def test_what_another_host_began_is_given_up_when_it_has_expired(open_store: Callable[..., LogStore]) -> None:
    first = open_store(mirror=False)
    for prompt_id in ("gone", "alive"):
        first.begin(made_up(prompt_id=prompt_id), None, lasts_s=60)
        first.keep(prompt_id)
    column = schema.started.c
    with first._database.writing() as connection:
        connection.execute(schema.started.update().values(host="another-host", process="/not/here"))
        connection.execute(schema.started.update().where(column.prompt_id == "gone").values(expires="2026-10-01"))
    assert [row.interaction.prompt_id for row in open_store(mirror=False).rows()] == ["gone"]


def test_a_request_that_was_given_up_too_early_takes_its_place(
    open_store: Callable[..., LogStore], tmp_path: Path
) -> None:
    first = open_store()
    slow = made_up(prompt_id="slow", response="Here at last.")
    first.begin(replace(slow, response=""), None, lasts_s=60)
    first.keep("slow")
    with first._database.writing() as connection:
        connection.execute(schema.started.update().values(host="another-host", expires="2026-10-01"))
    second = open_store()
    assert second.get("slow").status == "interrupted"
    second.rate("slow", 2)
    second.append(made_up(prompt_id="next"))
    second.flush()
    first.append(slow)
    assert second.get("slow") == replace(slow, rating=2)
    assert second.count() == 2
    first.flush()
    assert_files_equal_table(second, tmp_path)


def test_a_database_of_the_first_version_is_upgraded_and_keeps_everything(
    open_store: Callable[..., LogStore], database_url: str | None, tmp_path: Path
) -> None:
    engine = sa.create_engine(database_url or f"sqlite:///{tmp_path / 'prompts.db'}")
    with engine.begin() as connection:
        for statement in (Path(__file__).parent / "schema_1.sql").read_text().split(";\n"):
            connection.exec_driver_sql(statement)
    engine.dispose()
    stores = [open_store() for _ in range(2)]
    rows = {row.interaction.prompt_id: row.interaction for row in stores[1].rows()}
    assert list(rows) == ["plain", "rated", "failed", "cut"]
    assert [row.rating for row in rows.values()] == [None, 4, None, None]
    assert rows["rated"].prompt == 'It\'s "quoted"\nand goes on'
    assert (rows["cut"].status, rows["cut"].prompt) == ("interrupted", "What was asked")
    assert stores[0].template_text("v1") == "Say it as a friend: {prompt}"
    new = made_up()
    stores[0].begin(new, None, lasts_s=60)
    stores[0].keep(new.prompt_id)
    stores[0].append(new)
    stores[0].flush()
    assert_files_equal_table(stores[0], tmp_path)


def test_what_expires_while_the_log_is_open_is_given_up_too(store: LogStore) -> None:
    one = made_up(prompt_id="gone")
    store.begin(one, None, lasts_s=60)
    store.keep("gone")
    with store._database.writing() as connection:
        connection.execute(schema.started.update().values(host="another-host", expires="2026-10-01"))
    store._next_recovery = 0.0
    wait_until(lambda: store.count() == 1, within_s=5)
    assert store.get("gone").status == "interrupted"


def test_a_beginning_whose_request_was_finished_before_does_no_harm(open_store: Callable[..., LogStore]) -> None:
    first = open_store(mirror=False)
    first.append(made_up(prompt_id="finished", response="All of it."))
    first.begin(made_up(prompt_id="finished", response=""), None, lasts_s=60)
    first.keep("finished")
    with first._database.writing() as connection:
        connection.execute(schema.started.update().values(host="another-host", expires=None, timestamp="2026-10-01"))
    second = open_store(mirror=False)
    assert second.status().ok
    assert second.get("finished").response == "All of it."
    assert second.read(sa.select(schema.started)) == []


def test_what_begins_while_the_database_is_locked_is_kept_when_it_is_free(tmp_path: Path) -> None:
    with LogStore(tmp_path, busy_timeout_s=0.05) as store:
        store.append(made_up())
        holder = sqlite3.connect(tmp_path / "prompts.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        store.begin(made_up(prompt_id="begun"), None, lasts_s=60)
        wait_until(lambda: not store.status().ok, within_s=5)
        holder.execute("ROLLBACK")
        holder.close()
        wait_until(lambda: len(store.read(sa.select(schema.started))) == 1, within_s=10)


def test_lock_files_of_processes_that_died_are_swept(tmp_path: Path) -> None:
    for name in ("dead", "new"):
        (tmp_path / f".running-{name}.lock").touch()
    os.utime(tmp_path / ".running-dead.lock", (0, 0))
    with LogStore(tmp_path) as store:
        store.begin(made_up(prompt_id="alive"), None, lasts_s=60)
        store.keep("alive")
        (own,) = {row.process for row in store.read(sa.select(schema.started))}
        os.utime(own, (0, 0))
        store._mark.sweep()
        assert {path.name for path in tmp_path.glob(".running-*")} == {".running-new.lock", Path(own).name}


def test_a_beginning_that_can_never_be_written_is_not_tried_again(
    store: LogStore, caplog: pytest.LogCaptureFixture
) -> None:
    one = made_up(timestamp=None)
    store.begin(one, None, lasts_s=60)
    store.keep(one.prompt_id)
    wait_until(lambda: not store._beginnings._waiting, within_s=5)
    assert sum("could not be logged" in message for message in caplog.messages) == 1


def test_beginnings_that_are_there_already_keep_no_other_from_the_table(open_store: Callable[..., LogStore]) -> None:
    store = open_store(mirror=False)
    ended, noted, new = (Beginning(made_up(), None, lasts_s=60).row("a process") for _ in range(3))
    store._writer.begin([noted])
    store.append(made_up(prompt_id=ended["prompt_id"]))
    # As when the acknowledgement of a commit was lost.
    store._writer.begin([ended, noted, new])
    assert {row.prompt_id for row in store.read(sa.select(schema.started))} == {noted["prompt_id"], new["prompt_id"]}
