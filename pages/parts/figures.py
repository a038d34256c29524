"""How figures read, in one place: 340 ms, 1.2 s, 312 tokens (reported), $0.00009, and "unknown" for an unknown."""

from __future__ import annotations

from math import floor, log10

from router import Answer

_SOURCES = {"provider": "reported", "tiktoken": "counted by tiktoken", "heuristic": "estimated"}


def duration(milliseconds: float | None) -> str:
    """Milliseconds for people."""
    if milliseconds is None:
        return "unknown"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 59.95 else f"{int(seconds + 0.5) // 60} min {int(seconds + 0.5) % 60} s"


def money(dollars: float | None) -> str:
    """US dollars with two significant digits below a cent's accuracy."""
    if dollars is None:
        return "unknown cost"
    if dollars == 0:
        return "$0"
    if dollars >= 1:
        return f"${dollars:,.2f}"
    return f"${dollars:.{1 - floor(log10(dollars))}f}"


def count(number: int, noun: str) -> str:
    """`1 token`, `2,000 tokens`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def summary(answer: Answer) -> str:
    """The quiet line under an answer."""
    if answer.status == "error":
        return f"{answer.model} · failed after {duration(answer.latency_ms)}"
    parts = [answer.model, duration(answer.latency_ms)]
    if answer.ttft_ms is not None:
        parts.append(f"first token {duration(answer.ttft_ms)}")
    parts.append(f"{count(answer.usage.total_tokens, 'token')} ({_SOURCES[answer.usage.source]})")
    parts.append(money(answer.cost_usd))
    return " · ".join(parts)
