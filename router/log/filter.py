"""Which interactions: one filter for the history, the charts and the exports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.log.rows import clean
from router.log.schema import interactions


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Everything that is set must hold; an empty filter means every interaction.

    since, until: ISO 8601 UTC as in the log, compared as text, so a date alone will do; `until` itself is left out.
    models, providers, statuses, runs: any of these. templates: any of these, where None means "without a template".
    ratings: any of these, 1 to 5. rated: True for rated ones only, False for those without a rating.
    text: occurs in the prompt or in the response, upper and lower case alike.
    """

    since: str | None = None
    until: str | None = None
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    templates: tuple[str | None, ...] = ()
    ratings: tuple[int, ...] = ()
    rated: bool | None = None
    text: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The filter as SQL, to be joined with AND: `select(...).where(*filter.conditions())`."""
        column = interactions.c
        found: list[sa.ColumnElement[bool]] = []
        if self.since:
            found.append(column.timestamp >= clean(self.since))
        if self.until:
            found.append(column.timestamp < clean(self.until))
        any_of = {"model": self.models, "provider": self.providers, "status": self.statuses, "run_id": self.runs}
        for name, values in any_of.items():
            if values:
                found.append(column[name].in_(clean(values)))
        if self.templates:
            found.append(_any_of(column.template, self.templates))
        if self.ratings:
            found.append(column.rating.in_(self.ratings))
        if self.rated is not None:
            found.append(column.rating.is_not(None) if self.rated else column.rating.is_(None))
        if self.text:
            text = clean(self.text)
            found.append(
                sa.or_(column.prompt.icontains(text, autoescape=True), column.response.icontains(text, autoescape=True))
            )
        return found


def _any_of(column: sa.Column[Any], values: Sequence[str | None]) -> sa.ColumnElement[bool]:
    named = column.in_([clean(value) for value in values if value is not None])
    return sa.or_(named, column.is_(None)) if None in values else named
