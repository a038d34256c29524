"""What the router adds to one call and to a long stream: `python -m benchmarks.latency`.

"raw httpx" is the least that could be written by hand: one pooled client, and `json.loads` for each event.
"bare SQLite commit" is what the disk takes for the one durable write that logging cannot do without.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from benchmarks.common import (
    KEY,
    PROMPT,
    Mock,
    import_litellm,
    interleaved,
    median,
    ms,
    p95,
    print_table,
    router_on,
    running_mock,
)
from router import Router

CALLS = 600
STREAMS = 60
TURN = 10
HEADERS = {"Authorization": f"Bearer {KEY}"}
MESSAGES = [{"role": "user", "content": PROMPT}]


class Timed(NamedTuple):
    """Seconds of one stream: on the clock, of this process's CPU, and to the first text."""

    wall: float
    cpu: float
    first: float


def main() -> None:
    """Measure and print."""
    litellm = import_litellm()
    with (
        running_mock() as mock,
        tempfile.TemporaryDirectory() as folder,
        httpx.Client() as client,
        router_on(mock) as quiet,
        router_on(mock, log_dir=Path(folder)) as logging,
    ):
        calls = calls_of(mock, client, quiet, logging, litellm) | {"bare SQLite commit": sqlite_commits(Path(folder))}
        report_calls(taking_turns({name: timed_call(call) for name, call in calls.items()}, CALLS))
        streams = streams_of(mock, client, quiet, logging, litellm)
        for model, number, title in (
            ("one-chunk", CALLS, "A stream of one chunk"),
            ("thinks-100", STREAMS, "A stream of one chunk, after 100 ms"),
            ("many-chunks", STREAMS, "A stream of 500 chunks"),
        ):
            contenders = {name: timed_stream(stream, model) for name, stream in streams.items()}
            report_streams(title, taking_turns(contenders, number))


def taking_turns(contenders: dict[str, Callable[[], Timed]], number: int) -> dict[str, list[Timed]]:
    """So many results of each."""
    return interleaved(contenders, number // TURN, turn=TURN, warm_up=2)


def calls_of(mock: Mock, client: httpx.Client, quiet: Router, logging: Router, litellm: Any) -> dict[str, Any]:
    """One answer, whole."""

    def raw_json() -> str:
        response = client.post(mock.groq_url, headers=HEADERS, json={"model": "one-chunk", "messages": MESSAGES})
        return str(response.json()["choices"][0]["message"]["content"])

    calls: dict[str, Callable[[], str]] = {
        "raw httpx, JSON reply": raw_json,
        "raw httpx, streamed reply": lambda: "".join(raw_stream(mock, client, "one-chunk")),
        "router.chat without log": lambda: quiet.chat(PROMPT).text,
        "router.chat with log": lambda: logging.chat(PROMPT).text,
    }
    if litellm:
        options = {"api_base": mock.groq_base, "api_key": KEY, "messages": MESSAGES}
        calls["litellm.completion"] = lambda: litellm.completion("groq/one-chunk", **options).choices[0].message.content
    return calls


def streams_of(mock: Mock, client: httpx.Client, quiet: Router, logging: Router, litellm: Any) -> dict[str, Any]:
    """One answer of a model, as pieces of text."""

    def routed(router: Router) -> Callable[[str], Iterator[str]]:
        def stream(model: str) -> Iterator[str]:
            with router.stream(PROMPT, model=f"groq:{model}") as pieces:
                yield from pieces

        return stream

    def litellm_stream(model: str) -> Iterator[str]:
        options = {"api_base": mock.groq_base, "api_key": KEY, "messages": MESSAGES}
        for chunk in litellm.completion(f"groq/{model}", stream=True, **options):
            yield chunk.choices[0].delta.content or ""

    streams = {
        "raw httpx": lambda model: raw_stream(mock, client, model),
        "router.stream without log": routed(quiet),
        "router.stream with log": routed(logging),
    }
    return streams | ({"litellm": litellm_stream} if litellm else {})


def raw_stream(mock: Mock, client: httpx.Client, model: str) -> Iterator[str]:
    """The same request and the same work by hand."""
    payload = {"model": model, "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    with client.stream("POST", mock.groq_url, headers=HEADERS, json=payload) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                for choice in json.loads(line[6:])["choices"]:
                    yield choice["delta"].get("content") or ""


def sqlite_commits(folder: Path) -> Callable[[], str]:
    """One small row, on the disk when the call returns."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE log (row TEXT)")

    def commit() -> str:
        connection.execute("INSERT INTO log VALUES (?)", (PROMPT * 10,))
        return "done"

    return commit


def timed_call(call: Callable[[], str]) -> Callable[[], Timed]:
    """The call's times instead of its answer."""
    return timed_stream(lambda _: iter([call()]), "")


def timed_stream(stream: Callable[[str], Iterator[str]], model: str) -> Callable[[], Timed]:
    """The stream's times instead of its text."""

    def run() -> Timed:
        cpu, started = time.process_time(), time.perf_counter()
        first = 0.0
        for text in stream(model):
            if text and not first:
                first = time.perf_counter() - started
        wall = time.perf_counter() - started
        assert first
        return Timed(wall, time.process_time() - cpu, first)

    return run


def report_calls(results: dict[str, list[Timed]]) -> None:
    """A row for each contender; the base is the call that moves the same bytes as the router's."""
    base = [median(values) for values in zip(*results["raw httpx, streamed reply"], strict=True)]
    rows = []
    for name, timed in results.items():
        wall, cpu, _ = (list(values) for values in zip(*timed, strict=True))
        rows.append([name, against(wall, base[0]), ms(p95(wall)), against(cpu, base[1])])
    print_table(f"One call ({CALLS} each)", ["client", "wall ms", "wall p95", "CPU ms"], rows)


def report_streams(title: str, results: dict[str, list[Timed]]) -> None:
    """A row for each contender, with the ratio to raw httpx behind each figure."""
    raw = [median(values) for values in zip(*results["raw httpx"], strict=True)]
    rows = []
    for name, timed in results.items():
        columns = [list(values) for values in zip(*timed, strict=True)]
        figures = [against(values, base) for values, base in zip(columns, raw, strict=True)]
        rows.append([name, *figures, ms(p95(columns[0])), ms(p95(columns[2]))])
    header = ["client", "wall ms", "CPU ms", "first text ms", "wall p95", "first text p95"]
    print_table(f"{title} ({len(next(iter(results.values())))} each)", header, rows)


def against(values: list[float], base: float) -> str:
    """The median, and what multiple of raw httpx it is."""
    return f"{ms(median(values))} ({median(values) / base:.2f}×)"


if __name__ == "__main__":
    main()
