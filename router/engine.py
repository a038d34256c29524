"""One engine for calls and streams: a prompt is tried place by place until it has become an answer."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol

from router import catalog, tokens
from router.cooldown import Cooldowns
from router.errors import (
    AllProvidersFailed,
    BadRequest,
    ErrorKind,
    NotConfigured,
    ProviderError,
    RouterError,
    StreamInterrupted,
)
from router.itinerary import Itinerary, Route
from router.lifeline import Cancelled, Lifeline, Timeouts
from router.types import Answer, Attempt, Outcome, Request, Status, Usage

MAX_ANSWER_CHARS = 10_000_000
_logger = logging.getLogger(__name__)


class Recorder(Protocol):
    """Whoever keeps a record of a request; told of it from the thread that reads the answer."""

    def began(self) -> None:
        """The request goes out."""

    def shown(self) -> None:
        """The first text is about to be handed out."""

    def settled(self, answer: Answer, error: RouterError | None) -> None:
        """It is over."""


@dataclass(slots=True)
class _Received:
    """What one attempt has brought so far."""

    route: Route
    parts: list[str] = field(default_factory=list)
    usage: Usage | None = None
    finish_reason: str | None = None
    ttft_ms: float | None = None


class AnswerStream:
    """One prompt on its way to an answer.

    Iterate over it to receive the text as it comes. Leaving the `with` block, or `close` from any thread, ends the
    upstream request. After either, or at the end, `answer` says what became of it, partial if it was stopped.

    Iterating raises StreamInterrupted when a provider fails after its first text, and when nobody answers
    BadRequest, AllProvidersFailed, or, where only one provider was to be tried, that one's own error.

    `waiting_until` is set (on the monotonic clock) while the last one standing is given time before another attempt.

    With `hold` the text comes in one piece at the end. Nobody has then seen a part of it, so an answer that breaks off
    can still be replaced by another provider's.
    """

    def __init__(
        self,
        prompt_id: str,
        requested_model: str,
        routes: tuple[Route, ...],
        request: Request,
        *,
        timeouts: Timeouts,
        cooldowns: Cooldowns,
        scrub: Callable[[str], str],
        recorder: Recorder,
        hold: bool = False,
    ) -> None:
        self.prompt_id = prompt_id
        self._requested_model = requested_model
        self._routes = routes
        self._request = request
        self._cooldowns = cooldowns
        self._scrub = scrub
        self._recorder = recorder
        self._hold = hold
        self._lifeline = Lifeline(timeouts)
        self._lock = threading.Lock()  # held while a thread runs `_pieces`
        self._pieces = self._run()
        self._started = time.monotonic()
        self._attempts: list[Attempt] = []
        self._answer: Answer | None = None
        self.waiting_until: float | None = None
        self._received = _Received(routes[0])

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        with self._lock:
            return next(self._pieces)

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def answer(self) -> Answer:
        """What became of the prompt. Raises RuntimeError while it is still being answered."""
        if self._answer is None:
            raise RuntimeError("The answer is not complete yet: read the stream to its end, or close it.")
        return self._answer

    def close(self) -> None:
        """End the upstream request, from any thread. What has arrived is kept. Does nothing once it is over."""
        if self._answer is None:
            self._lifeline.cancel()  # wakes the thread that holds the lock
        with self._lock:
            self._pieces.close()
            if self._answer is None:  # it was never read from
                self._settle("stopped")

    def _run(self) -> Generator[str]:
        failure: RouterError | None = None
        broken_off: tuple[_Received, ProviderError] | None = None
        self._recorder.began()
        itinerary = Itinerary(self._routes, self._cooldowns, self._lifeline, self._passed_over)
        for stop in itinerary:
            route = stop.route
            self._received = _Received(route)
            started = time.monotonic()
            try:
                if stop.pause_s:
                    self._pause(stop.pause_s)
                    started = time.monotonic()
                yield from self._attempt(route)
            except (Cancelled, GeneratorExit):
                itinerary.abandoned(route)
                self._note(route, "stopped", started=started)
                self._settle("stopped")
                return
            except (KeyboardInterrupt, SystemExit):
                itinerary.abandoned(route)
                raise
            except ProviderError as error:
                failure = self._cleansed(error)
            except Exception as error:
                found = self._scrub(traceback.format_exc())
                _logger.warning("%s sent something unforeseen\n%s", route.provider.label, found)
                what = f"sent something that could not be understood ({type(error).__name__})"
                failure = ProviderError(route.provider.name, ErrorKind.MALFORMED_RESPONSE, what)
            else:
                itinerary.answered(route)
                self._note(route, "ok", started=started)
                self._settle("ok" if route is self._routes[0] else "fallback")
                return
            itinerary.failed(route, failure)
            outcome: Outcome = "interrupted" if self._received.parts else "failed"
            self._note(route, outcome, failure, failure.kind, failure.status_code, started)
            if self._received.parts:
                broken_off = self._received, failure
                if not self._hold:
                    break
            if failure.kind is ErrorKind.BAD_REQUEST:
                break
        if broken_off:
            self._received, cause = broken_off
            raise self._failed("interrupted", StreamInterrupted(cause, "".join(self._received.parts)))
        raise self._failed("error", self._final(failure))

    def _passed_over(self, route: Route, reason: NotConfigured | ProviderError) -> None:
        self._note(route, "skipped", reason, kind=reason.kind)

    def _pause(self, seconds: float) -> None:
        self.waiting_until = time.monotonic() + seconds
        self._lifeline.pause(seconds)
        self.waiting_until = None

    def _attempt(self, route: Route) -> Iterator[str]:
        received = self._received
        size = 0
        self._lifeline.begin_attempt()
        thinking = self._request.thinking if self._request.thinking in route.provider.thinking_levels else None
        request = replace(self._request, model=route.model, thinking=thinking)
        deltas = route.provider.stream(request, self._lifeline)
        with closing(deltas):
            for delta in deltas:
                self._lifeline.progress()
                received.usage = delta.usage or received.usage
                received.finish_reason = delta.finish_reason or received.finish_reason
                if not delta.text:
                    continue
                if received.ttft_ms is None:
                    received.ttft_ms = self._elapsed_ms(self._started)
                    if not self._hold:
                        self._recorder.shown()
                text = clean(delta.text)
                received.parts.append(text)
                size += len(text)
                if size > MAX_ANSWER_CHARS:
                    what = f"sent more than {MAX_ANSWER_CHARS:,} characters"
                    raise ProviderError(route.provider.name, ErrorKind.MALFORMED_RESPONSE, what)
                if not self._hold:
                    yield text
        if self._hold:
            yield "".join(received.parts)

    def _note(
        self,
        route: Route,
        outcome: Outcome,
        error: RouterError | None = None,
        kind: ErrorKind | None = None,
        status_code: int | None = None,
        started: float | None = None,
    ) -> None:
        self._attempts.append(
            Attempt(
                route.provider.name,
                route.model,
                outcome,
                kind.value if kind else None,
                status_code,
                str(error) if error else None,
                self._elapsed_ms(started) if started is not None else 0.0,
            )
        )

    def _final(self, failure: RouterError | None) -> RouterError:
        """The error for a prompt that nobody answered."""
        last = self._attempts[-1]
        if last.kind == ErrorKind.BAD_REQUEST:
            return BadRequest(f"{self._received.route.provider.label}: {last.message}")
        if len(self._routes) == 1:
            return failure or self._routes[0].provider.problem() or AllProvidersFailed(self._attempts)
        return AllProvidersFailed(self._attempts)

    def _cleansed(self, error: ProviderError) -> ProviderError:
        """The error without any key. Made so at once, because a tool may show the variables of the engine's frames.

        Frames of a provider hold its key, and an error's trail leads there: what leaves here starts afresh.
        """
        error.__cause__ = error.__context__ = None
        error.args = tuple(self._scrub(str(argument)) for argument in error.args)
        return error.with_traceback(None)

    def _failed(self, status: Status, error: RouterError) -> RouterError:
        error.prompt_id = self.prompt_id
        error.attempts = tuple(self._attempts)
        self._settle(status, error)
        return error

    def _settle(self, status: Status, error: RouterError | None = None) -> None:
        received = self._received
        text = "".join(received.parts)
        provider, model = received.route.provider.name, received.route.model
        usage = received.usage or self._estimate(text, status)
        self._answer = Answer(
            prompt_id=self.prompt_id,
            text=text,
            provider=provider,
            model=model,
            requested_model=self._requested_model,
            status=status,
            finish_reason=received.finish_reason,
            latency_ms=self._elapsed_ms(self._started),
            ttft_ms=received.ttft_ms,
            usage=usage,
            cost_usd=catalog.cost_usd(provider, model, usage, datetime.now(UTC).date()),
            attempts=tuple(self._attempts),
        )
        self._recorder.settled(self._answer, error)

    def _estimate(self, text: str, status: Status) -> Usage:
        if status == "error":
            return Usage(0, 0, "heuristic")  # nobody is known to have read the prompt
        prompt = tokens.count_messages(self._request.messages, self._request.system)
        completion = tokens.count(text)
        exact = prompt.source == completion.source == "tiktoken"
        return Usage(prompt.tokens, completion.tokens, "tiktoken" if exact else "heuristic")

    @staticmethod
    def _elapsed_ms(since: float) -> float:
        return round((time.monotonic() - since) * 1000, 3)


def clean(text: str) -> str:
    """The text with lone surrogates and NUL replaced: no file, database or browser takes them."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\ufffd")
