from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from router import catalog
from router.catalog import CatalogError
from router.types import Usage

DAY = date(2026, 11, 1)
REPORTED = Usage(1_000_000, 2_000_000, "provider")


def test_cost_is_reported_tokens_at_the_price_of_the_day() -> None:
    assert catalog.cost_usd("groq", "openai/gpt-oss-20b", REPORTED, DAY) == pytest.approx(0.075 + 2 * 0.30)
    assert catalog.cost_usd("gemini", "gemini-3.5-flash-lite", REPORTED, DAY) == pytest.approx(0.30 + 2 * 2.50)


def test_a_new_price_holds_from_its_first_day() -> None:
    change = date(2027, 1, 1)
    before = catalog.cost_usd("gemini", "gemini-3.8-flash", REPORTED, change - timedelta(days=1))
    after = catalog.cost_usd("gemini", "gemini-3.8-flash", REPORTED, change)
    assert before == pytest.approx(0.75 + 2 * 3.75)
    assert after == pytest.approx(1.50 + 2 * 7.50)


def test_cost_is_unknown_rather_than_zero() -> None:
    estimated = Usage(10, 10, "tiktoken")
    assert catalog.cost_usd("groq", "a-model-of-tomorrow", REPORTED, DAY) is None
    assert catalog.cost_usd("nobody", "openai/gpt-oss-20b", REPORTED, DAY) is None
    assert catalog.cost_usd("groq", "openai/gpt-oss-20b", estimated, DAY) is None
    assert catalog.cost_usd("groq", "openai/gpt-oss-20b", REPORTED, date(2020, 1, 1)) is None
    assert catalog.cost_usd("groq", "llama-3.1-8b-instant", REPORTED, DAY) is None


@pytest.mark.parametrize("model", ["demo", "slow", "flaky", "cut"])
def test_the_demo_costs_exactly_nothing(model: str) -> None:
    assert catalog.cost_usd("demo", model, Usage(10, 10, "heuristic"), DAY) == 0.0


def test_the_defaults_of_the_providers_are_known_and_priced() -> None:
    for provider, model_id in (("groq", "openai/gpt-oss-20b"), ("gemini", "gemini-3.5-flash-lite")):
        model = catalog.find(provider, model_id)
        assert model is not None
        assert model.context_window
        assert model.max_output
        assert model.price_on(DAY) is not None


def test_google_s_prefixed_ids_are_the_same_model() -> None:
    assert catalog.find("gemini", "models/gemini-3.5-flash") == catalog.find("gemini", "gemini-3.5-flash")


def test_a_retired_model_is_known_but_not_offered() -> None:
    assert catalog.find("groq", "llama-3.1-8b-instant") is not None
    assert "llama-3.1-8b-instant" not in {model.id for model in catalog.models("groq", DAY)}
    ids = [{model.id for model in catalog.models("gemini", day)} for day in (date(2026, 11, 30), date(2026, 12, 1))]
    assert ids[0] - ids[1] == {"gemini-2.5-flash"}


def test_a_retirement_note_says_when_and_what_instead() -> None:
    note = catalog.retirement_note("groq", "llama-3.1-8b-instant", DAY)
    assert note == "llama-3.1-8b-instant was retired on 2026-08-16; use openai/gpt-oss-20b instead."
    assert "will be retired on 2026-12-01" in (catalog.retirement_note("gemini", "gemini-2.5-flash", DAY) or "")
    assert catalog.retirement_note("groq", "openai/gpt-oss-20b") is None
    assert catalog.retirement_note("groq", "unheard of") is None


def test_models_of_an_unknown_provider_are_none() -> None:
    assert catalog.models("nobody") == ()


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"provider": "p", "id": "m"}, "missing 'prices'"),
        ({"provider": "p", "id": "m", "prices": [], "colour": "red"}, "unknown fields colour"),
        ({"provider": "p", "id": "m", "prices": [{"from": "soon", "input": 1, "output": 1}]}, "isoformat"),
        ({"provider": "p", "id": "m", "prices": [{"from": "2026-01-01", "input": -1, "output": 1}]}, "0 dollars"),
        ({"provider": "p", "id": "m", "prices": [{"from": "2026-01-01", "input": True, "output": 1}]}, "0 dollars"),
        (
            {"provider": "p", "id": "m", "prices": [{"from": "2026-01-01", "input": 1, "output": 1}] * 2},
            "order of their dates",
        ),
        ({"provider": "p", "id": "m", "prices": [], "context_window": "big"}, "whole number of tokens"),
        ({"provider": "p", "id": "m", "prices": [], "use_instead": "gone"}, "not in the catalogue"),
        ({"provider": "", "id": "m", "prices": []}, "must be a text"),
        ("a string", "must be an object"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: object, complaint: str) -> None:
    file = tmp_path / "models.json"
    file.write_text(json.dumps({"models": [entry]}))
    with pytest.raises(CatalogError, match=complaint) as error:
        catalog.load(file)
    assert str(file) in str(error.value)


def test_a_model_listed_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "models.json"
    file.write_text(json.dumps({"models": [{"provider": "p", "id": "m", "prices": []}] * 2}))
    with pytest.raises(CatalogError, match="listed twice"):
        catalog.load(file)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"models": 3}', "{broken"])
def test_an_unreadable_catalogue_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "models.json"
    file.write_text(text)
    with pytest.raises(CatalogError, match=r"models\.json"):
        catalog.load(file)


def test_importing_reads_nothing() -> None:
    program = "from router import catalog; print(catalog._catalog.cache_info().currsize)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout.split() == [b"0"]
