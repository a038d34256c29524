"""What a provider says, made fit to be repeated: without a key, and no longer than a person reads."""

from __future__ import annotations

import re
from functools import lru_cache

from router.settings import Secret

MAX_QUOTE = 500
MAX_NAME = 200
SHORTEST_KEY = 8
"""A shorter one is a stand-in for a server that asks for none, and stands in too many words."""
_LOOKS_LIKE_A_KEY = re.compile(r"\b(gsk_|AIza|sk-)[\w-]{12,}")


def hide_keys(text: str, *keys: str) -> str:
    """The text without these keys, as they are or escaped, and without what merely looks like a key.

    Whoever shortens a text does this first: of a key that is cut in two, nobody can find the half.
    """
    for key in keys:
        if len(key) >= SHORTEST_KEY:
            text = _forms(key).sub("[secure]", text)
    return _LOOKS_LIKE_A_KEY.sub("[secure]", text)


def quote(text: str, key: Secret | None) -> str:
    """The beginning of what a provider said, without the key that it was sent."""
    return hide_keys(text, *_revealed(key))[:MAX_QUOTE]


def as_name(value: object, key: Secret | None) -> str | None:
    """A finish reason or the id of a model, or None for what cannot be one.

    It is text of at most MAX_NAME characters, all of them printable (so no lone surrogates), and quotes no key.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        return None
    return value if hide_keys(value, *_revealed(key)) == value else None


def _revealed(key: Secret | None) -> tuple[str, ...]:
    return () if key is None else (key.reveal(),)


@lru_cache(maxsize=8)
def _forms(key: str) -> re.Pattern[str]:
    """The key, wrapped or not, each character as it is or escaped as in a URL (`%2F`) or JSON (`\\/`, `\\u002f`)."""
    as_is = [re.escape(character) for character in key]
    codes = [ord(character) for character in key]
    either = (rf"(?:{one}|%{code:02x}|\\u{code:04x}|\\{one})" for one, code in zip(as_is, codes, strict=True))
    return re.compile(r"\s*".join(either), re.IGNORECASE)
