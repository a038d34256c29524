"""The bytes of the templates file: a JSON object of strings, read with exact positions for what is wrong in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.errors import TemplatesBroken

_BETWEEN = re.compile(r"[\s,:]*")


def parse(data: bytes, path: Path) -> dict[str, str]:
    """Name → text, in the order of the file; a UTF-8 byte order mark is skipped.

    Raises TemplatesBroken with path, line and column: no UTF-8, no JSON, no object of strings, or a name twice.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        raise _broken(path, before, len(before), "not valid UTF-8") from error
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(path, text, error.pos, f"not valid JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise _broken(path, text, 0, "expected an object that maps names to texts") from error
    if not isinstance(document, dict):
        raise _broken(path, text, _start(text), "expected an object that maps names to texts")
    templates: dict[str, str] = {}
    for name_at, name, value_at, value in _members(text):
        if name in templates:
            raise _broken(path, text, name_at, f"the name {name!r} occurs twice")
        if not isinstance(value, str):
            raise _broken(path, text, value_at, f"the text of {name!r} must be a string")
        templates[name] = value
    return templates


def dump(templates: Mapping[str, str]) -> bytes:
    """The file's bytes: order kept, two spaces of indentation, characters as themselves, a newline at the end."""
    text = json.dumps(templates, ensure_ascii=False, indent=2) + "\n"
    # A lone surrogate that someone wrote as an escape stays one: backslashreplace happens to be JSON's escape.
    return text.encode("utf-8", "backslashreplace")


def _members(text: str) -> Iterator[tuple[int, str, int, object]]:
    """Position and value of each name and text of an object that is known to be valid JSON."""
    decoder = json.JSONDecoder()
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, end = decoder.raw_decode(text, at)
        value_at = _skip(text, end)
        value, end = decoder.raw_decode(text, value_at)
        yield at, name, value_at, value
        at = _skip(text, end)


def _skip(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    return match.end() if match else at


def _start(text: str) -> int:
    return len(text) - len(text.lstrip())


def _broken(path: Path, text: str, at: int, what: str) -> TemplatesBroken:
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    return TemplatesBroken(f"{path}, line {line}, column {column}: {what}. The file was left as it is.")
