"""One engine for calls and streams: a prompt is tried place by place until it has become an answer."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from inspect import GEN_RUNNING, getgeneratorstate
from types import TracebackType
from typing import Protocol, TypeVar

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
from router.progress import Progress, Received, elapsed_ms
from router.text import clean_text
from router.types import Answer, Delta, Request, Status

MAX_ANSWER_CHARS = 10_000_000
MAX_FINISH_REASON_CHARS = 100
CUTS = frozenset({ErrorKind.INTERRUPTED, ErrorKind.CONNECTION, ErrorKind.TIMEOUT})
"""Failures that cost an answer nothing once its finish reason has come: after that only its usage was missing."""

_Error = TypeVar("_Error", bound=RouterError)
_logger = logging.getLogger(__name__)


class Recorder(Protocol):
    """Whoever keeps a record of a request; told of it from the thread that reads the answer."""

    def began(self) -> None:
        """The request goes out."""

    def shown(self) -> None:
        """The first text is about to be handed out."""

    def settled(self, answer: Answer, error: RouterError | None) -> None:
        """It is over."""


class AnswerStream:
    """One prompt on its way to an answer.

    Iterate over it to receive the text as it comes. Leaving the `with` block, or `close` from any thread, ends the
    upstream request, and so does letting go of a stream that was read from. After either, or at the end, `answer` says
    what became of it, partial if it was stopped.

    Iterating raises StreamInterrupted when a provider fails after its first text, and when nobody answers
    BadRequest, AllProvidersFailed, or, where only one provider was to be tried, that one's own error.

    The deadlines count only what the providers take: not the time in which the caller holds a piece before asking for
    the next, nor that before the first.

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
        progress = Progress(prompt_id, requested_model, request, routes[0])
        self._run = _Run(routes, request, Lifeline(timeouts), cooldowns, scrub, recorder, hold, progress)
        self._pieces = self._run.pieces()
        self._lock = threading.RLock()  # held while a thread runs `_pieces`

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
        if self._run.answer is None:
            raise RuntimeError("The answer is not complete yet: read the stream to its end, or close it.")
        return self._run.answer

    @property
    def waiting_until(self) -> float | None:
        """On the monotonic clock, set while the last one standing is given time before another attempt."""
        return self._run.waiting_until

    def close(self) -> None:
        """End the upstream request, from any thread. What has arrived is kept. Does nothing once it is over.

        From a signal handler that runs in the midst of reading, it returns at once, and the reading ends next.
        """
        if self._run.answer is None:
            self._run.lifeline.cancel()  # wakes the thread that holds the lock
        with self._lock:
            if getgeneratorstate(self._pieces) == GEN_RUNNING:  # in this thread, or the lock would be another's
                return
            self._pieces.close()
            if self._run.answer is None:  # it was never read from
                self._run.settle("stopped")


@dataclass(slots=True)
class _Run:
    """The work behind an AnswerStream.

    It knows neither the stream nor its own generator: whoever lets go of a stream thereby ends the generator, there
    and then. In a cycle it would end wherever the garbage collector strikes, such as under the lock of the connection
    pool, which the generator's end needs.
    """

    routes: tuple[Route, ...]
    request: Request
    lifeline: Lifeline
    cooldowns: Cooldowns
    scrub: Callable[[str], str]
    recorder: Recorder
    hold: bool
    progress: Progress
    answer: Answer | None = None
    waiting_until: float | None = None

    def pieces(self) -> Generator[str]:
        """The text as it comes. However this ends, it has settled."""
        progress = self.progress
        failure: RouterError | None = None
        broken_off: tuple[Received, ProviderError] | None = None
        self.lifeline.extend(time.monotonic() - progress.started)
        self.recorder.began()
        itinerary = Itinerary(self.routes, self.cooldowns, self.lifeline, self._passed_over)
        for stop in itinerary:
            route = stop.route
            progress.received = Received(route)
            try:
                if stop.pause_s:
                    self._pause(stop.pause_s)
                    progress.received.started = time.monotonic()
                yield from self._attempt(route, progress.received)
            except (Cancelled, GeneratorExit, KeyboardInterrupt, SystemExit) as end:
                progress.note(route, "stopped")
                self.settle("stopped")
                if isinstance(end, Cancelled):
                    return
                raise
            except ProviderError as error:
                failure = self._cleansed(error)
            except RouterError as error:  # it is not about the provider, so nobody else can do better
                failure = self._cleansed(error)
                progress.note(route, "failed", failure)
                break
            except Exception as error:
                found = self._safe(traceback.format_exc())
                _logger.warning("%s sent something unforeseen\n%s", route.provider.label, found)
                what = f"sent something that could not be understood ({type(error).__name__})"
                failure = ProviderError(route.provider.name, ErrorKind.MALFORMED_RESPONSE, what)
            else:
                itinerary.answered(route)
                progress.note(route, "ok")
                self.settle("ok" if route is self.routes[0] else "fallback")
                return
            itinerary.failed(route, failure)
            if progress.received.parts:
                progress.note(route, "interrupted", failure)
                broken_off = progress.received, failure
                if not self.hold:
                    break
            else:
                progress.note(route, "failed", failure)
            if failure.kind is ErrorKind.BAD_REQUEST:
                break
        if broken_off:
            progress.received, cause = broken_off
            raise self._failed("interrupted", StreamInterrupted(cause, progress.received.text))
        raise self._failed("error", self._final(failure))

    def settle(self, status: Status, error: RouterError | None = None) -> None:
        """It is over."""
        self.answer = self.progress.answer(status)
        self.recorder.settled(self.answer, error)

    def _passed_over(self, route: Route, reason: NotConfigured | ProviderError) -> None:
        self.progress.note(route, "skipped", reason)

    def _pause(self, seconds: float) -> None:
        self.waiting_until = time.monotonic() + seconds
        self.lifeline.pause(seconds)
        self.waiting_until = None

    def _attempt(self, route: Route, received: Received) -> Iterator[str]:
        self.lifeline.begin_attempt()
        thinking = self.request.thinking if self.request.thinking in route.provider.thinking_levels else None
        request = replace(self.request, model=route.model, thinking=thinking)
        with closing(route.provider.stream(request, self.lifeline)) as deltas:
            try:
                yield from self._texts(deltas, received)
            except ProviderError as error:
                if received.finish_reason is None or error.kind not in CUTS:
                    raise
        if self.hold:
            yield received.text

    def _texts(self, deltas: Iterator[Delta], received: Received) -> Iterator[str]:
        size = 0
        for delta in deltas:
            self.lifeline.progress()
            received.usage = delta.usage or received.usage
            if delta.finish_reason:
                received.finish_reason = self._finish_reason(delta.finish_reason)
            if not delta.text:
                continue
            if received.ttft_ms is None:
                received.ttft_ms = elapsed_ms(self.progress.started)
                if not self.hold:
                    self.recorder.shown()
            text = clean_text(delta.text)
            received.parts.append(text)
            size += len(text)
            if size > MAX_ANSWER_CHARS:
                what = f"sent more than {MAX_ANSWER_CHARS:,} characters"
                raise ProviderError(received.route.provider.name, ErrorKind.MALFORMED_RESPONSE, what)
            if not self.hold:
                handed_out = time.monotonic()
                yield text
                self.lifeline.extend(time.monotonic() - handed_out)

    def _finish_reason(self, said: object) -> str | None:
        """What a provider gave as such, unless that can be none."""
        return self._safe(said) if isinstance(said, str) and len(said) <= MAX_FINISH_REASON_CHARS else None

    def _final(self, failure: RouterError | None) -> RouterError:
        """The error for a prompt that nobody answered."""
        last = self.progress.attempts[-1]
        if last.kind == ErrorKind.BAD_REQUEST:
            return BadRequest(f"{self.progress.received.route.provider.label}: {last.message}")
        if failure and (len(self.routes) == 1 or not isinstance(failure, ProviderError)):
            return failure
        if len(self.routes) == 1:
            return self.routes[0].provider.problem() or AllProvidersFailed(self.progress.attempts)
        return AllProvidersFailed(self.progress.attempts)

    def _cleansed(self, error: _Error) -> _Error:
        """The error without any key. Made so at once, because a tool may show the variables of the engine's frames.

        Frames of a provider hold its key, and an error's trail leads there: what leaves here starts afresh.
        """
        error.__cause__ = error.__context__ = None
        error.args = tuple(self._safe(str(argument)) for argument in error.args)
        return error.with_traceback(None)

    def _safe(self, said: str) -> str:
        return clean_text(self.scrub(said))

    def _failed(self, status: Status, error: RouterError) -> RouterError:
        error.prompt_id = self.progress.prompt_id
        error.attempts = tuple(self.progress.attempts)
        self.settle(status, error)
        return error
