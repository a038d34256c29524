"""Untrusted Markdown, made safe to show. At display only: what is sent or logged stays as it is.

Streamlit escapes HTML itself. What is left: an image is fetched from wherever the text says (a known way to leak
data), `$` begins maths, and `:red[…]`, `:smile:` and `:material/…:` are replaced. Code is left as it is, but for
images: where code begins and ends depends on lists, quotes and tables around it, and a mistake must not fetch anything.

All of it takes time linear in the length of the text: a model may write anything.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from functools import lru_cache

_FENCE = re.compile(r" {0,3}(?:(?P<ticks>`{3,})[^`]*|(?P<tildes>~{3,}).*)$")
_MARK = re.compile(r"`+|\\[()\[\]]")
_WORD_JOINER = "\u2060"


@lru_cache(maxsize=2048)  # a rerun shows the whole conversation again
def safe(text: str) -> str:
    r"""The text for `st.markdown`. Models write maths as `\( \)` and `\[ \]`: that is rendered."""
    return "".join(
        _code("".join(lines)) if fenced else _prose("".join(lines)) for fenced, lines in _fenced_and_other_lines(text)
    )


def split_finished(text: str) -> tuple[list[str], str]:
    """The paragraphs that will not change any more while the text grows, and the rest. Never cuts inside a fence."""
    finished: list[str] = []
    current: list[str] = []
    for fenced, lines in _fenced_and_other_lines(text):
        for line in lines:
            if fenced or line.strip() or not line.endswith("\n"):
                current.append(line)
            elif current:
                finished.append("".join(current))
                current = []
    return finished, "".join(current)


def _fenced_and_other_lines(text: str) -> list[tuple[bool, list[str]]]:
    """The lines with their ends, in runs: those of fenced code, with its fences, and those between."""
    runs: list[tuple[bool, list[str]]] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line.rstrip("\r\n"))
        marker = (mark["ticks"] or mark["tildes"]) if mark else ""
        opens = not fence and bool(marker)
        closes = bool(fence) and marker.startswith(fence) and not line.strip().strip(fence[0])
        if opens or not runs or (not fence and runs[-1][0]):
            runs.append((opens, []))
        runs[-1][1].append(line)
        if opens:
            fence = marker
        elif closes:
            fence = ""
    return runs


def _code(text: str) -> str:
    return text.replace("![", f"!{_WORD_JOINER}[")


def _prose(text: str) -> str:
    """Text outside fences: code spans and maths are found, the rest is escaped."""
    marks = [(mark.start(), mark.end(), mark[0]) for mark in _MARK.finditer(text)]
    places: dict[str, list[int]] = defaultdict(list)
    for number, (_, _, mark) in enumerate(marks):
        places[mark].append(number)
    line_ends = [match.start() for match in re.finditer(r"\n", text)]
    blank_lines = [match.start() for match in re.finditer(r"\n[ \t]*(?=\n)", text)]
    shown: list[str] = []
    end = number = 0
    while number < len(marks):
        start, inside, mark = marks[number]
        closing = {"\\(": "\\)", "\\[": "\\]"}.get(mark, mark if mark[0] == "`" else "")
        # A code span and inline maths end on their line, a formula of its own before the next blank line.
        limits = blank_lines if mark == "\\[" else line_ends
        limit = limits[at] if (at := bisect_left(limits, inside)) < len(limits) else len(text)
        candidates = places.get(closing, [])
        at = bisect_right(candidates, number)
        if not closing or at == len(candidates) or marks[candidates[at]][0] > limit:
            number += 1
            continue
        number = candidates[at]
        content, after = text[inside : marks[number][0]], marks[number][1]
        shown.append(_escape(text[end:start]))
        if mark[0] == "`":
            shown.append(_code(text[start:after]))
        else:
            formula = _code(content).strip().replace("$", r"\$")
            shown.append(f"${formula}$" if mark == "\\(" else f"\n$$\n{formula}\n$$\n")
        end = after
        number += 1
    shown.append(_escape(text[end:]))
    return "".join(shown)


def _escape(text: str) -> str:
    text = re.sub(r"(?<!\\)(\\*)\$", lambda found: found[0] if len(found[1]) % 2 else found[1] + r"\$", text)
    text = re.sub(r":(?=[A-Za-z][\w-]{0,40}\[)", r"\\:", text)
    # Emoji and icon names are replaced after parsing, where a backslash no longer counts: a word joiner parts them.
    text = re.sub(r":(?=[\w+\-]{1,60}(?:/\w{1,60})?:)", f":{_WORD_JOINER}", text)
    text = text.replace("![", r"!\[")
    return re.sub(r"(?<![~\\])~(?!~)", r"\\~", text)
