"""What a provider is: translation between our `Request` and its wire format, and nothing else."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from router.errors import NotConfigured
from router.lifeline import Lifeline
from router.types import Delta, Request


class Provider(Protocol):
    """No retry, no log, no clock of its own: the engine decides all that, and the lifeline ends it."""

    @property
    def name(self) -> str:
        """As in `model="groq"` and in the log."""

    @property
    def label(self) -> str:
        """As people read it, such as `GROQ`."""

    @property
    def default_model(self) -> str:
        """The model id that `model="groq"` alone stands for."""

    @property
    def thinking_levels(self) -> tuple[str, ...]:
        """What `Request.thinking` may be, from the least to the most; empty where it cannot be sent."""

    def problem(self) -> NotConfigured | None:
        """Why it cannot be used at all (no key, say), or None. Cheap: asked before every attempt."""

    def stream(self, request: Request, lifeline: Lifeline) -> Generator[Delta]:
        """Send the request and yield the answer as it comes.

        A `Delta` brings the `finish_reason` as soon as the provider gives it, unless its own is no name. What follows
        is usage at most: a cut after that costs nothing.
        An answer that was cut ends in a ProviderError.
        Raises ProviderError for every failure. Closing the iterator ends the upstream request.
        Raises Cancelled when the lifeline was cut.
        """

    def list_models(self, lifeline: Lifeline) -> tuple[str, ...]:
        """The ids of the models that this key may chat with. Raises ProviderError, and Cancelled."""
