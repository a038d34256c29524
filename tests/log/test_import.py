"""`python -m router.log import`: what goes in comes out, what is bad is told, and nothing goes in twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.log.__main__ import main
from router.log.export import csv_chunks, json_chunks
from router.log.rows import to_row
from router.log.store import LogStore
from router.types import Status, TokenSource
from tests.log.conftest import Command, OpenStore
from tests.log.support import assert_files_equal_table, in_json, made_up, wait_until

_HOSTILE = [
    "=cmd|' /C calc'!A0",
    'say "hi", then;\t\\',
    "line\nline\n\nline",
    "'=not a formula",
    "-1\u2028\x85\x0b\x1c",
    "@" * 200_000,
    "\rbegins anew",
    "\r\n=1+1",
    "😀 東京 \ud800\0",
]


def _lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    return path


@pytest.mark.parametrize("name", ["prompts.json", "prompts.csv"])
def test_a_log_with_hostile_content_is_imported_as_it_was(
    command: Command, open_store: OpenStore, tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with LogStore(elsewhere) as other:
        for number, text in enumerate(_HOSTILE):
            other.append(
                made_up(
                    timestamp="2026-10-01T12:00:00.000001Z",
                    prompt=text,
                    response=text[::-1],
                    rating=number % 6 or None,
                    system=text[:50],
                    params={text[:50]: [text]},
                )
            )
        expected = [row.interaction for row in other.rows()]
    done = command("import", elsewhere / name)
    assert (done.code, done.said) == (0, "")
    assert done.out == b"Imported 9 interactions, skipped 0 that were there, 0 bad rows.\n"
    store = open_store()
    texts = ("prompt", "response", "system")
    if name == "prompts.csv":  # which loses the ' that a text had of its own before a formula, and knows one line end
        expected[3] = replace(expected[3], prompt="=not a formula", system="=not a formula")
        expected = [replace(row, **{name: _lf(getattr(row, name)) for name in texts}) for row in expected]
    assert [row.interaction for row in store.rows()] == expected
    assert_files_equal_table(store, tmp_path)


_TEXT = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("=+-@\t\r\n\"',;\\ \u2028\x85\x0b\0")), max_size=30)
_NAME = _TEXT.filter(bool)
_COUNT = st.integers(0, 10**9)
_FIGURE = st.floats(0, 1e9)
_LOGGED = st.fixed_dictionaries(
    {
        "timestamp": st.datetimes()
        .filter(lambda m: m.year >= 1970)
        .map(lambda m: f"{m.isoformat(timespec='microseconds')}Z"),
        **dict.fromkeys(("provider", "model", "requested_model", "prompt"), _NAME),
        "status": st.sampled_from(Status.__args__),
        "token_source": st.sampled_from(TokenSource.__args__),
        "response": _TEXT,
        "latency_ms": _FIGURE,
        **dict.fromkeys(("token_count", "prompt_tokens", "completion_tokens"), _COUNT),
        **dict.fromkeys(("ttft_ms", "cost_usd"), st.none() | _FIGURE),
        "rating": st.none() | st.integers(1, 5),
        **dict.fromkeys(
            ("template", "template_version", "system", "run_id", "error", "finish_reason"), st.none() | _TEXT
        ),
        "params": st.dictionaries(_TEXT, st.recursive(_TEXT | _FIGURE | st.none(), st.lists), max_size=3),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(logged=st.lists(_LOGGED, max_size=4))
@pytest.mark.parametrize(("name", "chunks"), [("prompts.json", json_chunks), ("prompts.csv", csv_chunks)])
def test_an_export_of_an_import_is_the_export_that_was_imported(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    chunks: Callable[[LogStore], Any],
    logged: list[dict[str, Any]],
) -> None:
    folder = tmp_path_factory.mktemp("round")
    monkeypatch.setenv("LOG_DIR", str(folder / "copy"))
    with LogStore(folder) as store:
        for columns in logged:
            store.append(made_up(**columns))
    assert main(["import", str(folder / name)]) == 0
    with LogStore(folder / "copy") as copy:
        assert b"".join(chunks(copy)) == (folder / name).read_bytes()


_EIGHT = {
    "Timestamp": "2024-05-01 10:00:00",
    "prompt": "Explain gravity.",
    "model": "groq",
    "response": "Things fall.",
    "latency": 1.25,
    "Token Count": 30,
    "prompt_id": "17",
    "rating": 4,
}
_EIGHT_CSV = """\
timestamp,prompt,model,response,latency,token count,prompt_id,rating\r
2024-05-01 10:00:00,Explain gravity.,groq,Things fall.,1.25,30.0,17,4.0\r
"""


@pytest.mark.parametrize("text", [json.dumps([_EIGHT]), json.dumps(_EIGHT) + "\n\n", "\ufeff" + _EIGHT_CSV])
def test_a_file_of_the_original_eight_columns_is_imported_with_modest_defaults(
    command: Command, open_store: OpenStore, tmp_path: Path, text: str
) -> None:
    (tmp_path / "old").write_text(text)
    assert command("import", tmp_path / "old").code == 0
    kept = open_store().get("17")
    assert kept.timestamp == "2024-05-01T10:00:00.000000Z"
    assert (kept.provider, kept.model, kept.requested_model) == ("groq", "groq", "groq")
    assert (kept.prompt, kept.response, kept.rating) == ("Explain gravity.", "Things fall.", 4)
    assert (kept.status, kept.latency_ms, kept.ttft_ms, kept.cost_usd) == ("ok", 1250.0, None, None)
    assert (kept.token_count, kept.token_source) == (30, "heuristic")
    assert kept.prompt_tokens + kept.completion_tokens == 30
    assert (kept.params, kept.attempts, kept.error) == ({}, [], None)


def test_the_unit_of_latency_is_seconds_unless_the_command_or_the_name_says_milliseconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_DIR", str(tmp_path))
    row = {"timestamp": 1_700_000_000, "prompt": "?"}
    by_unit = {
        ("s",): [{**row, "prompt_id": "seconds", "latency": 2}],
        ("ms",): [{**row, "prompt_id": "milliseconds", "latency": "2"}],
        ("s", ""): [{**row, "prompt_id": "named", "latency_ms": 2}, {**row, "prompt_id": "unknown", "latency": ""}],
    }
    for (unit, *_), rows in by_unit.items():
        assert main(["import", "--latency-unit", unit, str(_write(tmp_path / "in", rows))]) == 0
    with LogStore(tmp_path) as store:
        found = {one.prompt_id: one.latency_ms for _, one in store.rows()}
    assert found == {"seconds": 2000.0, "milliseconds": 2.0, "named": 2.0, "unknown": None}


def test_an_import_of_the_same_file_again_adds_nothing_even_without_ids(
    command: Command, open_store: OpenStore, tmp_path: Path
) -> None:
    rows = [{"timestamp": "2024-05-01", "prompt": f"Number {n % 900}", "latency": n % 900} for n in range(1000)]
    file = _write(tmp_path / "in", rows)
    assert command("import", file).out == b"Imported 900 interactions, skipped 100 that were there, 0 bad rows.\n"
    again = command("import", "--latency-unit", "ms", file)
    assert again.out == b"Imported 0 interactions, skipped 1,000 that were there, 0 bad rows.\n"
    assert again.code == 0
    store = open_store()
    assert [one.prompt for _, one in store.rows()] == [f"Number {n}" for n in range(900)]
    assert_files_equal_table(store, tmp_path)


def test_rows_that_are_added_twice_at_once_are_there_once(open_store: OpenStore) -> None:
    stores = [open_store(mirror=False), open_store(mirror=False)]
    together = threading.Barrier(len(stores))
    rows = [to_row(made_up()) for _ in range(2000)]

    def add(store: LogStore) -> int:
        added = 0
        for at in range(0, len(rows), 100):
            together.wait(timeout=60)
            added += store.add_all(rows[at : at + 100])
        return added

    with ThreadPoolExecutor() as pool:
        assert sum(pool.map(add, stores)) == len(rows)
    kept = list(stores[0].rows())
    assert [row.seq for row in kept] == list(range(1, len(rows) + 1))
    assert [row.interaction.prompt_id for row in kept] == [row["prompt_id"] for row in rows]


def test_the_longest_names_fit_into_every_database(command: Command, open_store: OpenStore, tmp_path: Path) -> None:
    # Characters of four bytes that do not repeat: PostgreSQL has no room in an index for more than 2.7 KB.
    texts = iter("".join(chr(0x10000 + n * 200 + at) for at in range(200)) for n in range(20))
    names = ("prompt_id", "provider", "model", "requested_model", "template", "conversation_id", "run_id")
    row = {"timestamp": 1, "prompt": "?", **{name: next(texts) for name in names}}
    assert command("import", _write(tmp_path / "in", [row])).code == 0
    assert open_store().get(row["prompt_id"]).model == row["model"]


def test_a_log_moves_to_another_database_by_importing_its_own_file(
    command: Command, open_store: OpenStore, tmp_path: Path
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    with LogStore(tmp_path, other) as before:
        for _ in range(3):
            before.append(made_up(timestamp="2026-10-01T12:00:00.000000Z"))
        expected = [row.interaction for row in before.rows()]
    assert command("import", tmp_path / "prompts.json").code == 0
    store = open_store()
    assert [row.interaction for row in store.rows()] == expected
    assert_files_equal_table(store, tmp_path)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_ctrl_c_keeps_what_was_imported_and_says_how_much(
    command: Command, open_store: OpenStore, tmp_path: Path
) -> None:
    rows = [json.dumps({"timestamp": 1, "prompt": "x" * 2000, "prompt_id": str(n)}) + "\n" for n in range(2000)]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    environment = {**os.environ, "LOG_DIR": str(tmp_path)}
    arguments = [sys.executable, "-m", "router.log", "import", str(pipe)]
    importing = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    store = open_store(mirror=False)
    with pipe.open("w") as feed:
        feed.writelines(rows[:1900])
        feed.flush()
        wait_until(lambda: store.count() >= 500, within_s=30)
        importing.send_signal(signal.SIGINT)
        feed.writelines(rows[1900:])
    out, said = importing.communicate(timeout=30)
    assert importing.returncode == 130
    count = store.count()
    assert 500 <= count < 2000
    assert out.decode() == f"Imported {count:,} interactions, skipped 0 that were there, 0 bad rows.\n"
    assert "Stopped" in said.decode()
    assert len(in_json(tmp_path)) == count
    (tmp_path / "in").write_text("".join(rows))
    assert command("import", tmp_path / "in").code == 0
    assert store.count() == 2000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"GEMINI_BACKEND": "carrier pigeon"}, "GEMINI_BACKEND"),
        ({"LOG_DIR": "/dev/null/logs"}, "LOG_DIR"),
        ({"DATABASE_URL": "postgresql+psycopg://u:hunter2@127.0.0.1:1/log"}, "DATABASE_URL"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_keeps_the_log_from_being_used_is_told_in_one_line(
    command: Command, tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    done = command("import", _write(tmp_path / "in", [{"timestamp": 1, "prompt": "?"}]), **changed)
    assert done.code == 1
    assert done.said.count("\n") == 1
    assert message in done.said
    assert "hunter2" not in done.said


@pytest.mark.parametrize("arguments", [[], ["import"], ["import", "x", "--latency-unit", "h"], ["explode"]])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_wrong_usage_is_told_with_exit_code_2(command: Command, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.code == 2
    assert "usage: python -m router.log" in done.said
