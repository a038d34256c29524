"""Of the key that a provider was sent, no part comes back out of what it says."""

from __future__ import annotations

import json
from urllib.parse import quote as url_encoded
from urllib.parse import quote_plus

import pytest

from router.providers.quoting import MAX_NAME, MAX_QUOTE, as_name, hide_keys, quote
from router.settings import Secret
from tests.faults.behaviours import Body
from tests.faults.faults import Fault
from tests.providers.upstream import KEYS, Upstream

KEY = 'k3y/with+odd=chars&"quotes"\\and.(more)%41'


@pytest.mark.parametrize("before", range(MAX_QUOTE - len(KEYS["groq"]) - 1, MAX_QUOTE + 1))
def test_a_key_across_the_end_of_a_quote_is_hidden_whole(groq: Upstream, before: int) -> None:
    error = groq.ask(Fault.status(503, message="." * before + "{key}")).error
    assert error is not None
    assert set(str(error).partition("...")[2]) <= set(".[secure]")


def test_every_provider_hides_its_key_before_it_shortens(upstream: Upstream) -> None:
    for fault in (
        Fault.status(503, message="." * (MAX_QUOTE - 5) + "{key}"),
        Fault.error_event(500, message="." * (MAX_QUOTE - 5) + "{key}"),
        Fault.error_event(500, message="." * (MAX_QUOTE - 5) + "{key}", after=2),
        Body(b'{"error": "' + b"." * (MAX_QUOTE - 5) + b'{key}"}', 400, "application/json"),
    ):
        error = upstream.ask(fault).error
        assert error is not None
        assert str(error).endswith("." + "[secure]"[:5])


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        KEY.upper(),
        url_encoded(KEY),
        url_encoded(KEY, safe=""),
        url_encoded(KEY, safe="").lower(),
        quote_plus(KEY),
        json.dumps(KEY)[1:-1],
        json.dumps(KEY)[1:-1].replace("/", "\\/"),
        "".join(f"\\u{ord(character):04x}" for character in KEY),
        "".join(f"%{ord(character):02X}" for character in KEY),
        KEY[:20] + "\n    " + KEY[20:],
    ],
)
def test_a_key_is_known_however_it_is_written(form: str) -> None:
    assert hide_keys(f"Bad key={form}, sorry", KEY) == "Bad key=[secure], sorry"


def test_what_only_looks_like_a_key_is_hidden_before_the_cut_too() -> None:
    said = "." * (MAX_QUOTE - 10) + " gsk_abcdefghijklmnop1234"
    assert quote(said, None) == "." * (MAX_QUOTE - 10) + " [secure]"


def test_a_stand_in_for_a_key_hides_nothing() -> None:
    assert quote("stop it now", Secret("o")) == "stop it now"
    assert as_name("stop", Secret("stop")) == "stop"


@pytest.mark.parametrize("name", ["stop", "openai/gpt-oss-20b", "модель 2", "x" * MAX_NAME])
def test_a_name_is_kept(name: str) -> None:
    assert as_name(name, Secret(KEY)) == name


@pytest.mark.parametrize(
    "value",
    [None, "", 5, True, {}, ["a"], "x" * (MAX_NAME + 1), "\ud800", "a\nb", "a\0b", KEY, f"m-{url_encoded(KEY)}"],
)
def test_what_is_no_name_is_none(value: object) -> None:
    assert as_name(value, Secret(KEY)) is None
