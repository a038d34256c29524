"""A provider without a network."""

from __future__ import annotations

from collections.abc import Generator

from router.lifeline import Lifeline
from router.types import Delta, Request
from tests.routing import GROQ_MODEL


class Scripted:
    """A provider that says the same to everybody: text, deltas, and perhaps an exception at last."""

    name, label, default_model = "groq", "GROQ", GROQ_MODEL
    thinking_levels: tuple[str, ...] = ()

    def __init__(self, *events: str | Delta | BaseException) -> None:
        self._events = events

    def problem(self) -> None:
        return None

    def stream(self, request: Request, lifeline: Lifeline) -> Generator[Delta]:
        for event in self._events:
            if isinstance(event, BaseException):
                raise event
            yield Delta(event) if isinstance(event, str) else event

    def list_models(self, lifeline: Lifeline) -> tuple[str, ...]:
        return ()
