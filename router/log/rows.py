"""From an `Interaction` to a row of the table and back, with everything a row may not hold replaced at the door."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import sqlalchemy as sa

from router.log.interaction import COLUMNS, Interaction
from router.log.schema import interactions
from router.text import clean_text

COLUMN_OBJECTS: tuple[sa.Column[Any], ...] = tuple(interactions.c[name] for name in COLUMNS)
ROWS_AT_A_TIME = 50
"""How many rows a streaming read holds in memory: a row can be some hundred kilobytes, PostgreSQL's is held twice."""

_JSON_COLUMNS = ("params", "attempts")
_COLUMN_TYPES = (str, int, float, type(None))
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def clean(value: Any) -> Any:
    """The same value, fit for any database and file: no lone surrogates, no NUL, no NaN, also inside lists and dicts.

    Texts are cleaned as `clean_text` does it, and a number that JSON cannot write (NaN, infinity) becomes None.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value


def to_row(interaction: Interaction) -> dict[str, Any]:
    """The columns of an interaction, clean, with `params` and `attempts` as JSON text."""
    row = {name: clean(getattr(interaction, name)) for name in COLUMNS}
    for name, value in row.items():
        if name in _JSON_COLUMNS or not isinstance(value, _COLUMN_TYPES):
            row[name] = _to_json(value)
    return row


def to_interaction(row: sa.Row[Any]) -> Interaction:
    """The interaction that a row of the table holds."""
    return from_columns(dict(zip(COLUMNS, (getattr(row, name) for name in COLUMNS), strict=True)))


def from_columns(columns: dict[str, Any]) -> Interaction:
    """The interaction that `to_row` was given, after cleaning."""
    parsed = {name: json.loads(cast(str, columns[name])) for name in _JSON_COLUMNS}
    return Interaction(**{**columns, **parsed})
