"""Text that any file, database, browser and provider takes."""

from __future__ import annotations


def clean_text(text: str) -> str:
    """The text with what nobody takes, lone surrogates and NUL, replaced by U+FFFD. Two halves of a pair are joined."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\ufffd")
