"""What the benchmarks share: the mock in a process of its own, routers on it, litellm if it is there, and tables."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from router import Router, Settings
from router.log.interaction import Interaction
from router.settings import Secret

KEY = "benchmark-key"
PROMPT = "Explain gravity in one sentence."


@dataclass(frozen=True, slots=True)
class Mock:
    """A running `benchmarks.mock`."""

    url: str

    @property
    def groq_base(self) -> str:
        """Where an OpenAI client finds it."""
        return f"{self.url}/openai/v1"

    @property
    def groq_url(self) -> str:
        """What GROQ_API_URL would hold."""
        return f"{self.groq_base}/chat/completions"

    def requests(self, model: str) -> int:
        """How many requests this model has received so far."""
        return int(self._asked("stats").get(model, 0))

    def ended(self) -> list[float]:
        """When, on `time.monotonic`, a client has left a hanging model: one moment for each."""
        return list(self._asked("ended"))

    def _asked(self, what: str) -> Any:
        with urlopen(f"{self.url}/{what}") as response:
            return json.load(response)


@contextmanager
def running_mock() -> Iterator[Mock]:
    """Start it and end it with the block."""
    command = [sys.executable, "-m", "benchmarks.mock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Mock(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        # Leaving closes its standard input, and that ends it.


class NoLog:
    """A log that keeps nothing."""

    def begin(self, interaction: Interaction, template_text: str | None, lasts_s: float) -> None:
        """A request begins."""

    def keep(self, prompt_id: str) -> None:
        """Its first text is handed out."""

    def append(self, interaction: Interaction, template_text: str | None = None) -> None:
        """A request is over."""

    def rate(self, prompt_id: str, rating: int | None) -> None:
        """An answer is rated."""


def router_on(mock: Mock, *, log_dir: Path | None = None, **settings: Any) -> Router:
    """A router whose providers are the mock; it logs to `log_dir`, or nowhere."""
    values: dict[str, Any] = {
        "groq_api_key": Secret(KEY),
        "groq_model": "one-chunk",
        "groq_api_url": mock.groq_url,
        "log_dir": log_dir or Path(os.devnull),
    }
    return Router(Settings(**(values | settings)), log=None if log_dir else NoLog())


def import_litellm() -> Any:
    """litellm, told to stay off the network; None, with a note, when it is not installed."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    try:
        import litellm
    except ImportError:
        print("litellm is not installed here: its rows are left out.\n")
        return None
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    return litellm


def interleaved(
    contenders: Mapping[str, Callable[[], Any]], rounds: int, *, turn: int = 1, warm_up: int = 0
) -> dict[str, list[Any]]:
    """What each contender returned. They take turns, round by round, so that a noisy moment hits all alike.

    turn: how many times in a row each runs, after one more that does not count: it pays for what the contender
    before it left behind.
    """
    results: dict[str, list[Any]] = {name: [] for name in contenders}
    for number in range(-warm_up, rounds):
        for name, run in contenders.items():
            if turn > 1:
                wait_for_threads()
                run()
            returned = [run() for _ in range(turn)]
            if number >= 0:
                results[name] += returned
    return results


def wait_for_threads() -> None:
    """Return when this process's other threads have nothing to do: litellm goes on working after it has answered."""
    for _ in range(100):
        cpu = time.process_time()
        time.sleep(0.005)
        if time.process_time() - cpu < 0.001:
            return


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The value that 95 % stay below."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def ms(seconds: float) -> str:
    """Milliseconds with three significant digits."""
    return f"{seconds * 1000:,.0f}" if seconds >= 0.1 else f"{seconds * 1000:.3g}"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table, ready for the README."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    print(f"\n**{title}**\n")
    for cells in (header, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |")
