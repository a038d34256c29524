"""Many streams at once, each of 100 tokens a second for 10 s: `python -m benchmarks.concurrency`.

A thread for each, through one router (or one httpx client). The provider thinks for 300 ms before the first token, as
the fast ones do. The streams start spread over SPREAD seconds, and in the harder case all at the same instant.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from benchmarks.common import PROMPT, median, ms, p95, print_table, router_on, running_mock
from benchmarks.latency import raw_stream
from benchmarks.mock import TOKENS

MODEL = "paced-30"
FEW, MANY = 10, 200
SPREAD = 2.0
ROUNDS = 3


@dataclass
class Measured:
    """Seconds to the first text and to the end of each stream, why some failed, and the CPU seconds of a round."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    results: dict[tuple[str, float, int], Measured] = {}
    with (
        running_mock() as mock,
        httpx.Client(limits=httpx.Limits(max_connections=None), timeout=30) as client,
        router_on(mock) as router,
    ):
        contenders: dict[str, Callable[[str], Iterator[str]]] = {
            "raw httpx": lambda model: raw_stream(mock, client, model),
            "router.stream": lambda model: router.stream(PROMPT, model=f"groq:{model}"),
        }
        for stream in contenders.values():
            list(stream("one-chunk"))
        cases = [(name, spread, number) for spread in (SPREAD, 0.0) for name in contenders for number in (FEW, MANY)]
        for _ in range(ROUNDS):
            for name, spread, number in cases:
                run(contenders[name], spread, number, results.setdefault((name, spread, number), Measured()))
    rows = []
    for (name, spread, number), measured in results.items():
        few = results[name, spread, FEW]
        rows.append(
            [
                f"{number} × {name}, {f'over {spread:g} s' if spread else 'at once'}",
                str(len(measured.errors)),
                ms(median(measured.first)),
                ms(p95(measured.first)),
                f"{p95(measured.first) / p95(few.first):.2f}",
                f"{p95(measured.whole):.1f}",
                f"{median(measured.cpu):.1f}",
            ]
        )
        for error in sorted(set(measured.errors)):
            print(f"{name}: {measured.errors.count(error)} × {error}")
    header = ["streams", "failed", "first text ms", "its p95", f"p95 × that of {FEW}", "last text p95 s", "CPU s"]
    print_table(f"Streams of 100 tokens/s for 10 s ({ROUNDS} rounds)", header, rows)


def run(stream: Callable[[str], Iterator[str]], spread: float, number: int, measured: Measured) -> None:
    """So many streams at once."""
    begins = time.perf_counter() + 0.5  # by then every thread is there

    def read(offset: float) -> None:
        time.sleep(begins + offset - time.perf_counter())
        started = time.perf_counter()
        received = 0
        try:
            for text in stream(MODEL):
                if text:
                    received += 1
                    if received == 1:
                        measured.first.append(time.perf_counter() - started)
        except Exception as error:
            measured.errors.append(repr(error))
            return
        measured.whole.append(time.perf_counter() - started)
        if received != TOKENS:
            measured.errors.append(f"{received} tokens instead of {TOKENS}")

    threads = [threading.Thread(target=read, args=(spread * i / number,)) for i in range(number)]
    cpu = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    measured.cpu.append(time.process_time() - cpu)


if __name__ == "__main__":
    main()
