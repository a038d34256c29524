"""What is known about models without asking anybody: context, largest output, dated prices, retirement.

The figures live in `models.json`, read at the first question. A model that is not in it may work all the same;
its cost is then unknown, never 0.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from router.types import Usage

CATALOG_FILE = Path(__file__).parent / "models.json"


class CatalogError(ValueError):
    """`models.json` does not say what it should; the message names the model and the field."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, from a day on until the next price of the model."""

    since: date
    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one provider.

    context_window, max_output: tokens; None when unknown. prices: the oldest first; empty when unknown.
    free: costs nothing, whoever counted its tokens. retired_on: the first day on which it no longer answers.
    """

    provider: str
    id: str
    context_window: int | None = None
    max_output: int | None = None
    prices: tuple[Price, ...] = ()
    free: bool = False
    retired_on: date | None = None
    use_instead: str | None = None

    def price_on(self, day: date) -> Price | None:
        """The price that holds on that day, or None when none is known for it."""
        return next((price for price in reversed(self.prices) if price.since <= day), None)

    def is_retired(self, day: date) -> bool:
        """Whether the provider has switched it off by that day."""
        return self.retired_on is not None and day >= self.retired_on


def models(provider: str, on: date | None = None) -> tuple[Model, ...]:
    """The provider's models that one can still use on that day (default: today), in the order of the file."""
    day = on or date.today()
    return tuple(model for model in _catalog().values() if model.provider == provider and not model.is_retired(day))


def find(provider: str, model_id: str) -> Model | None:
    """A model by its id, retired or not; None when the catalogue does not hold it."""
    # Google's API calls its models `models/…` in lists and `…` in prices.
    return _catalog().get((provider, model_id.removeprefix("models/")))


def provider_of(model_id: str) -> str | None:
    """The provider that has a model of this id, retired or not; None when the catalogue holds no such model."""
    bare_id = model_id.removeprefix("models/")
    return next((provider for provider, known_id in _catalog() if known_id == bare_id), None)


def cost_usd(provider: str, model_id: str, usage: Usage, on: date) -> float | None:
    """What an answer cost in US dollars at that day's price, or None when that is unknown.

    Only usage that the provider itself reported has a cost: an estimate of tokens would pass for money spent.
    A free model costs exactly 0. Discounts (cached input, batches) are not known here.
    """
    model = find(provider, model_id)
    if model is None:
        return None
    if model.free:
        return 0.0
    price = model.price_on(on)
    if price is None or usage.source != "provider":
        return None
    return (usage.prompt_tokens * price.input + usage.completion_tokens * price.output) / 1_000_000


def retirement_note(provider: str, model_id: str, on: date | None = None) -> str | None:
    """One sentence for a model that has been or will be switched off, with what to use instead; otherwise None."""
    model = find(provider, model_id)
    if model is None or model.retired_on is None:
        return None
    tense = "was" if model.is_retired(on or date.today()) else "will be"
    instead = f"; use {model.use_instead} instead" if model.use_instead else ""
    return f"{model.id} {tense} retired on {model.retired_on.isoformat()}{instead}."


def load(path: Path = CATALOG_FILE) -> dict[tuple[str, str], Model]:
    """Read and check a catalogue file. Raises CatalogError when it holds anything unexpected."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["models"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"{path} cannot be read as a catalogue: {error!r}") from error
    if not isinstance(entries, list):
        raise CatalogError(f"{path}: 'models' must be a list")
    catalog: dict[tuple[str, str], Model] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            model = _model(entry)
        except (KeyError, TypeError, ValueError) as error:
            name = entry.get("id", f"number {number}") if isinstance(entry, dict) else f"number {number}"
            what = f"missing {error}" if isinstance(error, KeyError) else str(error)
            raise CatalogError(f"{path}, model {name}: {what}") from error
        if (model.provider, model.id) in catalog:
            raise CatalogError(f"{path}, model {model.id}: listed twice")
        catalog[model.provider, model.id] = model
    for model in catalog.values():
        if model.use_instead is not None and (model.provider, model.use_instead) not in catalog:
            raise CatalogError(f"{path}, model {model.id}: use_instead {model.use_instead!r} is not in the catalogue")
    return catalog


@cache
def _catalog() -> dict[tuple[str, str], Model]:
    return load()


_FIELDS = {"provider", "id", "context_window", "max_output", "prices", "free", "retired_on", "use_instead"}


def _model(entry: Any) -> Model:
    if not isinstance(entry, dict):
        raise TypeError("must be an object")
    if unknown := set(entry) - _FIELDS:
        raise ValueError(f"unknown fields {', '.join(sorted(unknown))}")
    if not isinstance(entry["prices"], list):
        raise TypeError("prices must be a list")
    prices = tuple(
        Price(date.fromisoformat(price["from"]), _dollars(price["input"]), _dollars(price["output"]))
        for price in entry["prices"]
    )
    if any(later.since <= earlier.since for earlier, later in pairwise(prices)):
        raise ValueError("prices must be in the order of their dates")
    retired_on = entry.get("retired_on")
    return Model(
        provider=_text(entry["provider"]),
        id=_text(entry["id"]),
        context_window=_tokens(entry.get("context_window")),
        max_output=_tokens(entry.get("max_output")),
        prices=prices,
        free=entry.get("free", False) is True,
        retired_on=None if retired_on is None else date.fromisoformat(retired_on),
        use_instead=None if entry.get("use_instead") is None else _text(entry["use_instead"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} must be a text")
    return value


def _tokens(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value <= 0):
        raise TypeError(f"{value!r} must be a whole number of tokens")
    return value


def _dollars(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise TypeError(f"{value!r} must be a price of 0 dollars or more")
    return float(value)
