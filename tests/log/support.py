"""What the tests of the log share: made-up interactions, and the question whether the files equal the table."""

from __future__ import annotations

import csv
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from router.log.interaction import COLUMNS, Interaction
from router.log.store import LogStore

csv.field_size_limit(1 << 30)


def made_up(**changed: Any) -> Interaction:
    """An interaction with every column filled in, changed where said."""
    values: dict[str, Any] = {
        "prompt_id": uuid.uuid4().hex,
        "timestamp": "2026-10-01T12:00:00.000+00:00",
        "provider": "groq",
        "model": "openai/gpt-oss-20b",
        "requested_model": "groq",
        "status": "ok",
        "prompt": "Explain gravity.",
        "response": "Things fall.",
        "latency_ms": 812.5,
        "ttft_ms": 210.25,
        "token_count": 30,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "token_source": "provider",
        "cost_usd": 0.00012,
        "template": "friendly",
        "template_version": "v1",
        "params": {"temperature": 0.5, "variables": {"tone": "warm"}},
        "conversation_id": "c1",
        "run_id": "r1",
        "attempts": [{"provider": "groq", "model": "openai/gpt-oss-20b", "outcome": "ok", "latency_ms": 812.5}],
    }
    return Interaction(**{**values, **changed})


class Done(NamedTuple):
    """What a command that has ended left: its exit code and what it wrote."""

    code: int
    out: bytes
    said: str


def in_json(log_dir: Path) -> list[dict[str, Any]]:
    """The rows of prompts.json as an outside reader sees them."""
    return json.loads((log_dir / "prompts.json").read_bytes())


def in_csv(log_dir: Path) -> list[dict[str, str]]:
    """The rows of prompts.csv as an outside reader sees them."""
    with (log_dir / "prompts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert all(None not in row and None not in row.values() for row in rows), "a row with too many or too few cells"
    return rows


def as_cell(value: Any) -> str:
    """How the CSV rule writes a value: empty for None, JSON for lists, "\\n" line ends, ' before a formula."""
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(value, str):
        return str(value)
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\n")) else text


def assert_files_equal_table(store: LogStore, log_dir: Path) -> None:
    """Both files hold every row of the table, in order, in every column."""
    table = [{**asdict(row.interaction), "seq": row.seq} for row in store.rows()]
    assert in_json(log_dir) == table
    cells = [{name: as_cell(row[name]) for name in COLUMNS} for row in table]
    found = in_csv(log_dir)
    assert [{name: row[name] for name in COLUMNS} for row in found] == cells
    assert [int(row["seq"]) for row in found] == [row["seq"] for row in table]


def wait_until(condition: Callable[[], bool], within_s: float) -> float:
    """Poll until the condition holds; returns the seconds it took, fails when it never does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, f"not within {within_s} s"
        time.sleep(0.005)
    return time.monotonic() - began
