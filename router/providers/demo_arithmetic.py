"""Exact arithmetic for the demo model, from a question in words or signs. Nothing is ever handed to `eval`."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from fractions import Fraction

MAX_EXPRESSION_CHARS = 200
MAX_BITS = 2_048
"""Numbers beyond this size (about 600 digits) are refused, before they are computed."""

# Spoken arithmetic, in the order in which it has to be rewritten.
_NUMBER = r"(\d[\d,_]*(?:\.\d+)?)"
_SPOKEN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (rf"(?:the )?square root of {_NUMBER}", r"(\1)**0.5"),
        (rf"sqrt\s*\(?\s*{_NUMBER}\s*\)?", r"(\1)**0.5"),
        (rf"{_NUMBER}\s*(?:%|percent|per cent)\s+of\s+", r"(\1/100)*"),
        (rf"{_NUMBER}\s*(?:%|percent|per cent)(?!\s*\d)", r"(\1/100)"),
        (r"\bto the power of\b|\braised to\b|\^", "**"),
        (r"\bsquared\b", "**2"),
        (r"\bcubed\b", "**3"),
        (r"\bplus\b", "+"),
        (r"\bminus\b|−|–", "-"),
        (r"\bmultiplied by\b|\btimes\b|×|·|(?<=[\d)\s])x(?=[\s\d(])", "*"),
        (r"\bdivided by\b|\bover\b|÷", "/"),
        (r"\bmod(?:ulo)?\b", "%"),
        (r"(?<=\d)[,_](?=\d{3})", ""),
    )
)
_QUESTION = re.compile(
    r"(?:what(?:'s|’s| is| are)|calculate|compute|evaluate|how much is|work out|solve)\b[:\s]*", re.I
)
_EXPRESSION = re.compile(r"[-+(\s]*[\d.][\d\s.+\-*/%()]*")
_OPERATOR = re.compile(r"[\d)]\s*(?:\*\*|//|[-+*/%])\s*[-+(\d.]")

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
}


class Refused(Exception):
    """The expression has no value that could be given; the message says why."""


def answer(question: str) -> str | None:
    """One line of Markdown with the result, or None when the question asks for no calculation."""
    expression = find_expression(question)
    if expression is None:
        return None
    shown = re.sub(r"(?<=[\d)])\s*(\*\*|//|[-+*/%])\s*", r" \1 ", expression)
    try:
        return f"`{shown}` = **{_format(evaluate(expression))}**"
    except Refused as reason:
        return f"I cannot give a value for `{shown}`: {reason}."


def find_expression(question: str) -> str | None:
    """The arithmetic expression that the question asks for, in Python's notation, or None.

    It has to follow a phrase such as "what is", or be the whole question: dates, versions and ranges that merely
    occur in a text are no sums.
    """
    spoken = question
    for pattern, replacement in _SPOKEN:
        spoken = pattern.sub(replacement, spoken)
    starts = [match.end() for match in _QUESTION.finditer(spoken)]
    whole = re.fullmatch(r"\s*(.+?)[\s=?.!]*", spoken, re.DOTALL)
    if whole and _EXPRESSION.fullmatch(whole[1]):
        starts.append(0)
    for start in starts:
        match = _EXPRESSION.match(spoken, start)
        expression = match[0].strip().rstrip(".") if match else ""
        if len(expression) <= MAX_EXPRESSION_CHARS and _OPERATOR.search(expression) and _parse(expression) is not None:
            return " ".join(expression.split())
    return None


def evaluate(expression: str) -> Fraction:
    """The exact value of an expression of numbers, parentheses and + - * / // % **. Raises Refused."""
    node = _parse(expression)
    if node is None:
        raise Refused("it is not complete")
    return _value(node)


def _parse(expression: str) -> ast.expr | None:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=bool() | complex() | str() | bytes()):
            raise Refused("it holds something that is no number")
        case ast.Constant(value=int() | float() as number) if math.isfinite(number):
            return _bounded(Fraction(repr(number)))  # repr: 0.1 is a tenth, not its nearest binary fraction
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            try:
                return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
            except ZeroDivisionError:
                raise Refused("dividing by zero is not defined") from None
        case _:
            raise Refused("I only know numbers, parentheses and + - * / % **")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if base == 0 and exponent < 0:
        raise Refused("dividing by zero is not defined")
    if exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent.numerator) * bits > MAX_BITS and abs(base) not in (0, 1):
            raise Refused("the number is too large for me")
        # Only the parity matters for -1, 0 and 1, whatever the exponent's size.
        return base ** (exponent.numerator if abs(base) not in (0, 1) else exponent.numerator % 2 or 2 * bool(exponent))
    if base < 0:
        raise Refused("a root of a negative number is not real")
    try:
        return Fraction(repr(float(base) ** float(exponent)))
    except (OverflowError, ValueError):
        raise Refused("the number is too large for me") from None


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise Refused("the number is too large for me")
    return value


def _format(value: Fraction) -> str:
    """Whole numbers in full with commas, others with up to 10 significant digits."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    try:
        text = f"{float(value):,.10g}"
    except OverflowError:
        return "about " + f"{value.numerator // value.denominator:,}"
    return text if Fraction(text.replace(",", "")) == value else f"about {text}"
