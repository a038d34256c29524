"""A model without a key: offline, deterministic, streamed at a human pace, and open about being a demo.

`demo` answers; `demo:slow` takes its time; `demo:flaky` fails every third request before any content; `demo:cut` breaks
off after a third of its answer. They let anyone watch streaming, racing, fallback and interruption.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections.abc import Generator

from router import tokens
from router.errors import ErrorKind, NotConfigured, ProviderError
from router.lifeline import Lifeline
from router.types import Delta, Request, Usage

MODELS = ("demo", "slow", "flaky", "cut")
SLOW_DOWN = 5.6
FIRST_TOKEN_WORDS = 12
"""The first word comes after the time of this many: 0.27 s at the usual pace, 1.5 s for `slow`."""


class Demo:
    """The provider. Thread-safe. `words_per_second` is the pace; `slow` is SLOW_DOWN times slower (8 by default)."""

    name = "demo"
    label = "Demo"
    default_model = "demo"
    thinking_levels: tuple[str, ...] = ()

    def __init__(self, words_per_second: float = 45.0) -> None:
        self.words_per_second = words_per_second
        self._flaky_requests = 0
        self._lock = threading.Lock()

    def problem(self) -> NotConfigured | None:
        """Always None: it needs nothing."""
        return None

    def list_models(self, lifeline: Lifeline) -> tuple[str, ...]:
        """The four of them."""
        return MODELS

    def stream(self, request: Request, lifeline: Lifeline) -> Generator[Delta]:
        """Yield the answer word by word, then usage and a finish reason (`stop`, or `length` at max_tokens).

        Raises ProviderError for an unknown model, for the failures that `flaky` and `cut` are there to show, and
        when a deadline of the lifeline passes; Cancelled when it was cut.
        """
        if request.model not in MODELS:
            known = ", ".join(MODELS)
            raise ProviderError(
                self.name,
                ErrorKind.MODEL_NOT_FOUND,
                f"The demo has no model {request.model!r}. Its models: {known}.",
                status_code=404,
            )
        if request.model == "flaky":
            self._fail_every_third_request()
        # Imported here: compiling its many patterns is no part of `import router`.
        from router.providers import demo_skills

        text = demo_skills.answer(request.messages)
        shown = _cut_to_tokens(text, request.max_tokens)
        words = re.findall(r"\s*\S+\s*", shown)
        if request.model == "cut":
            words = words[: max(1, len(words) // 3)]
        seconds_per_word = (SLOW_DOWN if request.model == "slow" else 1.0) / self.words_per_second
        pause = FIRST_TOKEN_WORDS * seconds_per_word
        for word in words:
            self._wait(pause, lifeline)
            pause = seconds_per_word
            yield Delta(text=word)
        if request.model == "cut":
            message = "demo:cut breaks off after a third of its answer, on purpose."
            raise ProviderError(self.name, ErrorKind.CONNECTION, message)
        prompt, completion = tokens.count_messages(request.messages, request.system), tokens.count(shown)
        source = completion.source if prompt.source == "tiktoken" else prompt.source
        yield Delta(
            usage=Usage(prompt.tokens, completion.tokens, source),
            finish_reason="stop" if shown == text else "length",
        )

    def _wait(self, seconds: float, lifeline: Lifeline) -> None:
        lifeline.sleep(seconds)
        if lifeline.remaining() <= 0:
            raise ProviderError(self.name, ErrorKind.TIMEOUT, f"The demo was {lifeline.describe_deadline()}.")

    def _fail_every_third_request(self) -> None:
        with self._lock:
            self._flaky_requests += 1
            number = self._flaky_requests
        if number % 3 == 0:
            raise ProviderError(
                self.name,
                ErrorKind.OVERLOADED,
                f"demo:flaky fails every third request, on purpose; this was its request {number}.",
                status_code=503,
            )


def _cut_to_tokens(text: str, max_tokens: int | None) -> str:
    """The longest beginning of `text` that has at most `max_tokens` tokens."""
    if max_tokens is None or tokens.count(text).tokens <= max_tokens:
        return text
    lengths = range(len(text) + 1)
    return text[: max(0, bisect_right(lengths, max_tokens, key=lambda length: tokens.count(text[:length]).tokens) - 1)]
