"""What may be said besides the prompt, and what is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from router.errors import BadRequest
from router.log.interaction import MAX_NAME_CHARS
from router.types import MAX_TOKENS, Message


class Options(TypedDict, total=False):
    """What may be said besides the prompt.

    model: `provider` for its default model, or `provider:model-id`; `groq` when not given.
    template, variables: the name of a template, and values for its placeholders besides `{prompt}`.
    system: the system prompt. history: the turns before this prompt, oldest first.
    temperature (0 to 2), max_tokens (from 1), top_p (0 to 1): not sent when None.
    thinking: one of the provider's `thinking_levels`; not sent to one that has no such level.
    fallback: whether the other providers may answer when this one cannot; True when not given.
    conversation_id, run_id, parent_id: logged as they are, see `Interaction`.
    """

    model: str
    template: str | None
    variables: Mapping[str, object] | None
    system: str | None
    history: Sequence[Message]
    temperature: float | None
    max_tokens: int | None
    top_p: float | None
    thinking: str | None
    fallback: bool
    conversation_id: str | None
    run_id: str | None
    parent_id: str | None


def check_sampling(temperature: float | None, max_tokens: int | None, top_p: float | None) -> None:
    """Raises BadRequest for a value that no provider takes."""
    _check_range("temperature", temperature, 0, 2)
    _check_range("top_p", top_p, 0, 1)
    if max_tokens is not None and (type(max_tokens) is not int or not 1 <= max_tokens <= MAX_TOKENS):
        raise BadRequest(f"max_tokens is a whole number from 1 to {MAX_TOKENS:,}, not {_short(max_tokens)}.")


def check_names(**names: str | None) -> None:
    """Raises BadRequest for a name that the log could not hold."""
    for option, name in names.items():
        if name is not None and (not isinstance(name, str) or len(name) > MAX_NAME_CHARS):
            raise BadRequest(f"{option} is a text of at most {MAX_NAME_CHARS} characters, not {_short(name)}.")


def plain_variables(variables: Mapping[str, object] | None) -> dict[str, str | float | None]:
    """The variables as they are filled in and logged: anything but texts and numbers as the text it makes.

    Raises BadRequest for one that makes none.
    """
    plain: dict[str, str | float | None] = {}
    for name, value in (variables or {}).items():
        try:
            text = str(value)
        except (RecursionError, ValueError) as error:  # nested without end; a number of thousands of digits
            raise BadRequest(f"The variable {_short(name)} cannot be written as text: {error}.") from None
        plain[str(name)] = value if isinstance(value, (str, int, float, type(None))) else text
    return plain


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadRequest(f"{name} is a number from {low:g} to {high:g}, not {_short(value)}.")


def _short(value: object) -> str:
    if isinstance(value, int) and abs(value) > 10**18:
        return "a number that large"  # repr of thousands of digits raises
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
