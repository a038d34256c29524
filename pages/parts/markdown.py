"""Untrusted Markdown, made safe to show. At display only: what is sent or logged stays as it is.

Streamlit escapes HTML itself. What is left: an image is fetched from wherever the text says (a known way to leak
data), `$` begins maths, and `:red[…]`, `:smile:` and `:material/…:` are replaced. Code stays untouched.
"""

from __future__ import annotations

import re
from functools import lru_cache

_CODE = re.compile(
    r"""
    ^[ ]{0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ ]{0,3}(?P=fence)[`~]*[ \t]*$|\Z)  # a fence, closed or not yet
    | (?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)                                  # a code span
    """,
    re.S | re.M | re.X,
)
_MATHS = re.compile(r"\\\((?P<inline>.+?)\\\)|\\\[(?P<block>.+?)\\\]", re.S)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


@lru_cache(maxsize=2048)  # a rerun shows the whole conversation again
def safe(text: str) -> str:
    r"""The text for `st.markdown`. Models write maths as `\( \)` and `\[ \]`: that is rendered."""
    shown, end = [], 0
    for code in _CODE.finditer(text):
        shown += [_prose(text[end : code.start()]), code[0]]
        end = code.end()
    shown.append(_prose(text[end:]))
    return "".join(shown)


def _prose(text: str) -> str:
    shown, end = [], 0
    for maths in _MATHS.finditer(text):
        formula = (maths["inline"] or maths["block"]).strip().replace("$", r"\$")
        shown += [_escape(text[end : maths.start()]), f"${formula}$" if maths["inline"] else f"\n$$\n{formula}\n$$\n"]
        end = maths.end()
    shown.append(_escape(text[end:]))
    return "".join(shown)


def _escape(text: str) -> str:
    text = re.sub(r"(?<!\\)((?:\\\\)*)\$", r"\1\\$", text)
    text = re.sub(r":(?=[A-Za-z][\w-]*\[)", r"\\:", text)
    # Emoji and icon names are replaced after parsing, where a backslash no longer counts: a word joiner parts them.
    text = re.sub(r":(?=[\w+\-]+(?:/\w+)?:)", ":\u2060", text)
    text = text.replace("![", r"!\[")
    return re.sub(r"(?<![~\\])~(?!~)", r"\\~", text)


def split_finished(text: str) -> tuple[list[str], str]:
    """The paragraphs that will not change any more while the text grows, and the rest. Never cuts inside a fence."""
    finished: list[str] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line.strip(" \n`~"):
            fence = ""
        if not line.strip() and line.endswith("\n") and not fence:
            if lines:
                finished.append("".join(lines))
            lines = []
        else:
            lines.append(line)
    return finished, "".join(lines)
