"""A model keeps its colour on every page and chart.

The browser hands out the theme's `chartCategoricalColors` in the order of a scale's names. So a model is given a place
in that order rather than a colour: light, dark and the switch between them need nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cache
from itertools import count
from zlib import crc32

import streamlit as st

from router import catalog, shared_router

_STREAMLITS_OWN_PALETTE = 10
"""How many colours there are when the configuration names none."""


def arranged(models: Iterable[str]) -> list[str]:
    """The models, each at its place, with names that nobody has in between. For `domain` or `options`.

    Models that share a colour come in later rounds through the palette, so tell models apart by more than colour.
    """
    size = palette_size()
    places: dict[int, str] = {}
    for model in sorted(set(models), key=_rank):
        first = _rank(model)[0] % size
        places[next(place for place in count(first, size) if place not in places)] = model
    rounds = -(-(max(places, default=0) + 1) // size)
    return [places.get(place, f"unused {place}") for place in range(rounds * size)]


def palette_size() -> int:
    """How many colours there are before the first comes again."""
    return len(st.get_option("theme.light.chartCategoricalColors") or ()) or _STREAMLITS_OWN_PALETTE


def _rank(model: str) -> tuple[int, str]:
    """A model's place before the palette wraps round: the catalogue's order, or a stable hash of its name."""
    known = _catalogue()
    return (known.index(model) if model in known else crc32(model.encode()), model)


@cache
def _catalogue() -> list[str]:
    # As on the first of all days, when nothing was retired yet: no colour may change when a model retires.
    everything = [model for name in shared_router().providers for model in catalog.models(name, on=date.min)]
    return [model.id for model in sorted(everything, key=lambda model: model.retired_on is not None)]
