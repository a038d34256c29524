"""From a row of a log file, ours or another program's, to an `Interaction`."""

from __future__ import annotations

import hashlib
import json
import math
import re
import reprlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, get_args

from router import catalog
from router.log.interaction import MAX_NAME_CHARS, Interaction
from router.tokens import estimate
from router.types import MAX_TOKENS, Attempt, Status, TokenSource

_LARGEST_NUMBER = 1e9
_UNIX_SECONDS = re.compile(r"\d+(\.\d+)?")
_STATUSES: tuple[str, ...] = get_args(Status)
_TOKEN_SOURCES: tuple[str, ...] = get_args(TokenSource)
_NAMES = ("template", "template_version", "conversation_id", "run_id", "parent_id", "finish_reason")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class BadValue(ValueError):
    """A row cannot become an interaction; the message says which value is why."""


def to_interaction(values: Mapping[str, Any], latency_unit_ms: float) -> Interaction:
    """The interaction of a row that names at least `timestamp` and `prompt`.

    values: by column, as `router.log.readers` reads them; numbers and JSON may be text. None counts as missing.
    latency_unit_ms: milliseconds per unit of a column `latency`; that of `latency_ms` is known.

    What is missing is unknown, or as modest as can be: status `ok`; tokens by the heuristic, which also divides a
    count that is given undivided; a provider only if the model's name tells. A missing prompt_id is made of what the
    row says, so that the same row always gets the same one. Raises BadValue.
    """
    timestamp = _timestamp(values.get("timestamp"))
    prompt, response = _text(values, "prompt"), _text(values, "response") or ""
    if not prompt:
        raise BadValue("It has no prompt.")
    model = _name(values, "model") or "unknown"
    provider, provider_model = _provider_and_model(model, _name(values, "provider"))
    prompt_tokens, completion_tokens, token_count = _tokens(values, prompt, response)
    error = _text(values, "error")
    return Interaction(
        prompt_id=_name(values, "prompt_id") or _made_id(values, timestamp, model, prompt, response),
        timestamp=timestamp,
        provider=provider,
        model=provider_model,
        requested_model=_name(values, "requested_model") or model,
        status=_one_of(values, "status", _STATUSES) or ("error" if error else "ok"),
        prompt=prompt,
        response=response,
        latency_ms=_latency_ms(values, latency_unit_ms),
        ttft_ms=_number(values, "ttft_ms"),
        token_count=token_count,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        token_source=_one_of(values, "token_source", _TOKEN_SOURCES) or "heuristic",
        cost_usd=_number(values, "cost_usd"),
        rating=_whole(values, "rating", 1, 5),
        system=_text(values, "system"),
        params=_json(values, "params", dict),
        attempts=_attempts(values),
        error=error,
        **{name: _name(values, name) for name in _NAMES},
    )


def moment(text: str) -> datetime:
    """An ISO 8601 date, or date and time, in UTC; one that names no offset is UTC already. Raises ValueError."""
    try:
        given = datetime.fromisoformat(text.strip())
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _timestamp(value: Any) -> str:
    if value is None or value == "":
        raise BadValue("It has no timestamp.")
    found = None
    with suppress(ValueError, OverflowError, OSError, TypeError, AttributeError):
        if type(value) in (int, float) or _UNIX_SECONDS.fullmatch(value.strip()):
            found = datetime.fromtimestamp(float(value), UTC)
        else:
            found = moment(value)
    if found is None or found.year < 1970:
        raise BadValue(f"timestamp is {_shown(value)}, which is neither ISO 8601 nor seconds, from 1970 on.")
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _provider_and_model(model: str, provider: str | None) -> tuple[str, str]:
    if provider:
        return provider, model
    prefix, _, rest = model.partition(":")
    if catalog.models(prefix):
        return prefix, rest or model
    return catalog.provider_of(model) or "unknown", model


def _latency_ms(values: Mapping[str, Any], unit_ms: float) -> float:
    latency, latency_ms = _number(values, "latency"), _number(values, "latency_ms")
    if latency_ms is not None:
        return latency_ms
    return math.nan if latency is None else latency * unit_ms  # NaN is logged as unknown


def _tokens(values: Mapping[str, Any], prompt: str, response: str) -> tuple[int, int, int]:
    """Prompt tokens, completion tokens, and both."""
    of_prompt, of_completion, both = (
        _whole(values, name, 0, MAX_TOKENS) for name in ("prompt_tokens", "completion_tokens", "token_count")
    )
    if both is None:
        of_prompt = estimate(prompt) if of_prompt is None else of_prompt
        of_completion = estimate(response) if of_completion is None else of_completion
        return of_prompt, of_completion, of_prompt + of_completion
    if of_prompt is None:
        of_prompt = min(both, estimate(prompt)) if of_completion is None else max(0, both - of_completion)
    if of_completion is None:
        of_completion = max(0, both - of_prompt)
    return of_prompt, of_completion, both


def _attempts(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    attempts: list[dict[str, Any]] = _json(values, "attempts", list)
    with suppress(TypeError):
        if all(_is_attempt(Attempt(**attempt)) for attempt in attempts):
            return attempts
    raise BadValue("attempts is not a list of attempts.")


def _is_attempt(attempt: Attempt) -> bool:
    figures, texts = (attempt.latency_ms, attempt.status_code), (attempt.provider, attempt.model, attempt.outcome)
    return all(isinstance(text, str) for text in texts) and all(
        figure is None or (type(figure) in (int, float) and 0 <= figure <= _LARGEST_NUMBER) for figure in figures
    )


def _json(values: Mapping[str, Any], name: str, kind: type) -> Any:
    value = values.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadValue(f"{name} is {_shown(value)}, which is not JSON.") from None
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise BadValue(f"{name} is {_shown(value)}, not {'an object' if kind is dict else 'a list'}.")
    return value


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None or isinstance(value, str):
        return value
    if type(value) is int:  # ids, numbered
        return str(value)
    raise BadValue(f"{name} is {_shown(value)}, not a text.")


def _name(values: Mapping[str, Any], name: str) -> str | None:
    text = _text(values, name)
    if text is not None and len(text) > MAX_NAME_CHARS:
        raise BadValue(f"{name} is longer than {MAX_NAME_CHARS} characters.")
    return text


def _one_of(values: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str | None:
    text = _name(values, name)
    if text and text not in choices:
        raise BadValue(f"{name} is {_shown(text)}, none of {', '.join(choices)}.")
    return text


def _number(values: Mapping[str, Any], name: str, least: float = 0, most: float = _LARGEST_NUMBER) -> float | None:
    value = values.get(name)
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most:
        raise BadValue(f"{name} is {_shown(value)}, not a number from {least:,.0f} to {most:,.0f}.")
    return number


def _whole(values: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    number = _number(values, name, least, most)
    if number is not None and number != int(number):
        raise BadValue(f"{name} is {_shown(values[name])}, not a whole number.")
    return None if number is None else int(number)


def _made_id(values: Mapping[str, Any], *content: str) -> str:
    # The figures as they are written: the same file under another unit of latency holds the same interactions.
    figures = [_number(values, name) for name in ("latency", "latency_ms", "token_count")]
    return hashlib.sha256(json.dumps([*content, *figures]).encode()).hexdigest()[:32]


def _shown(value: Any) -> str:
    """As it is written in a report: short, in one line, and harmless to a terminal."""
    return _short.repr(value)
