"""How soon a silent stream is over once it is closed: `python -m benchmarks.cancel`.

One thread reads a stream of a provider that has gone silent, another calls `AnswerStream.close`. Measured from that
call: until the reading thread is back with what had come, and until the provider sees the connection end.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.common import KEY, PROMPT, Mock, interleaved, median, ms, p95, print_table, router_on, running_mock
from router import Router
from router.settings import Secret

TRIALS = 200
SILENCES = {"before the first token": 0, "in mid-text": 3}
"""How many pieces come before the silence."""
BLOCKED = 0.01
"""Seconds after which the reading thread surely waits on its socket."""


class Ended(NamedTuple):
    """Seconds from `close` until the reader was back and until the provider noticed."""

    reader: float
    provider: float


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # google-generativeai announces its end
    gemini = {"gemini_api_key": Secret(KEY), "gemini_model": "one-chunk"}
    with (
        running_mock() as mock,
        router_on(mock, **gemini, gemini_api_url=mock.url, gemini_backend="sdk") as sdk,
        router_on(mock, **gemini, gemini_api_url=mock.url, gemini_backend="rest") as rest,
    ):
        places = {"GROQ": (rest, "groq"), "Gemini (sdk)": (sdk, "gemini"), "Gemini (rest)": (rest, "gemini")}
        contenders = {
            f"{name}, {silence}": closing(mock, router, provider, pieces)
            for silence, pieces in SILENCES.items()
            for name, (router, provider) in places.items()
        }
        results = interleaved(contenders, TRIALS, warm_up=3)
    rows = []
    for name, trials in results.items():
        figures = [[ms(median(seconds)), ms(p95(seconds)), ms(max(seconds))] for seconds in zip(*trials, strict=True)]
        rows.append([name, *figures[0], *figures[1]])
    header = ["silent upstream", "reader back ms", "its p95", "its max", "provider noticed ms", "its p95", "its max"]
    print_table(f"From close() in another thread ({TRIALS} each)", header, rows)


def closing(mock: Mock, router: Router, provider: str, pieces: int) -> Callable[[], Ended]:
    """One stream, closed in the silence after so many pieces."""
    model = f"hang-{pieces}"

    def run() -> Ended:
        asked, ended = mock.requests(model), len(mock.ended())
        stream = router.stream(PROMPT, model=f"{provider}:{model}")
        received: list[str] = []
        back: list[float] = []

        def read() -> None:
            received.extend(stream)
            back.append(time.monotonic())

        reader = threading.Thread(target=read)
        reader.start()
        while mock.requests(model) == asked or len(received) < pieces:
            time.sleep(0.001)
        time.sleep(BLOCKED)
        closed = time.monotonic()
        stream.close()
        reader.join()
        while len(moments := mock.ended()) == ended:
            time.sleep(0.001)
        assert (stream.answer.status, len(received)) == ("stopped", pieces)
        return Ended(back[0] - closed, moments[-1] - closed)

    return run


if __name__ == "__main__":
    main()
