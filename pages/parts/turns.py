"""What was asked and answered, as the pages keep it in session state and find it again in the log."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from router import Answer, Message, Router
from router.log.interaction import Interaction
from router.templates import Template


@dataclass
class Turn:
    """A prompt and what became of it.

    sent: the prompt as the template rendered it; None when the log does not hold the template as it was then.
    """

    prompt: str
    sent: str | None
    template: str | None
    answer: Answer
    error: str | None = None
    rating: int | None = None


@dataclass
class Conversation:
    """Turns in order. `id` is its `conversation_id` in the log; `asking` the prompt under way and its template."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    turns: list[Turn] = field(default_factory=list)
    asking: tuple[str, str | None] = ("", None)

    def history(self) -> list[Message]:
        """What the next request tells the provider: everything that was asked and answered, as it was sent."""
        return [
            message
            for turn in self.turns
            if turn.answer.text and turn.answer.status != "error"
            for message in (Message("user", turn.sent or turn.prompt), Message("assistant", turn.answer.text))
        ]


def from_log(router: Router, logged: Interaction) -> Turn:
    """The turn that an interaction was. Raises LogUnavailable."""
    sent: str | None = logged.prompt
    if logged.template:
        text = router.log.template_text(logged.template_version or "")
        variables = logged.params.get("variables")
        sent = Template(logged.template, text).render(logged.prompt, variables) if text is not None else None
    return Turn(logged.prompt, sent, logged.template, logged.answer(), logged.error, logged.rating)


def load(router: Router, conversation_id: str) -> Conversation | None:
    """The conversation from the log, or None when it holds no such id. Raises LogUnavailable."""
    logged = router.log.conversation(conversation_id)
    return Conversation(conversation_id, [from_log(router, one) for one in logged]) if logged else None
