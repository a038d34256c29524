"""What the commands have to say, and where they say it."""

from __future__ import annotations

import sys


def tell(text: str) -> None:
    """A line for the person, on the standard error: the standard output is for results."""
    print(text, file=sys.stderr, flush=True)


def counted(number: int, noun: str) -> str:
    """`1 interaction`, `1,234 interactions`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
