from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import tokens
from router.tokens import ENCODING_FILE, EXACT_UP_TO_CHARS, Tokenizer
from router.types import Message

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too

AWKWARD = {
    "a million spaces": " " * 1_000_000,
    "special token": "<|endoftext|>",
    "lone surrogates": "\ud800 and \udfff",
    "10 MB": "Hello, world. " * 750_000,
    "one long word": "a" * EXACT_UP_TO_CHARS,
    "newlines": "\n" * 3_000_000,
    "NUL": "\0" * 10_000,
    "emoji": "👩‍💻🎉" * 20_000,
}


@pytest.fixture(scope="module")
def exact() -> Tokenizer:
    tokenizer = Tokenizer()
    assert tokenizer.warm(timeout=30)
    return tokenizer


@pytest.fixture(scope="module")
def heuristic() -> Tokenizer:
    tokenizer = Tokenizer(Path("no such file"))
    assert not tokenizer.warm(timeout=30)
    return tokenizer


def test_importing_and_first_counting_does_not_import_tiktoken_on_the_callers_thread() -> None:
    program = (
        "import sys, threading; from router import tokens; assert 'tiktoken' not in sys.modules\n"
        "threading.Thread.start = lambda self: None\n"
        "print(tokens.count('Hello world').source, 'tiktoken' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["heuristic", "False"]


def test_the_shipped_encoding_gives_exact_counts_without_any_network() -> None:
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('network used')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from router import tokens; assert tokens.warm(timeout=30); print(*tokens.count('Hello world'))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2", "tiktoken"]


def test_counts_are_those_of_o200k_base(exact: Tokenizer) -> None:
    # Reference values of tiktoken.get_encoding("o200k_base").
    assert exact.count("") == (0, "tiktoken")
    assert exact.count("hello world") == (2, "tiktoken")
    assert exact.count("antidisestablishmentarianism") == (6, "tiktoken")
    assert exact.count("<|endoftext|>") == (7, "tiktoken")


def test_a_changed_encoding_file_is_not_used_and_not_touched(tmp_path: Path) -> None:
    copy = tmp_path / ENCODING_FILE.name
    copy.write_bytes(ENCODING_FILE.read_bytes() + b"\n")
    before = copy.read_bytes()
    tokenizer = Tokenizer(copy)
    assert not tokenizer.warm(timeout=30)
    assert tokenizer.count("hello world").source == "heuristic"
    assert copy.read_bytes() == before
    assert list(tmp_path.iterdir()) == [copy]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_texts_are_counted(name: str, exact: Tokenizer, heuristic: Tokenizer) -> None:
    for tokenizer in (exact, heuristic):
        assert tokenizer.count(AWKWARD[name]).tokens > 0


@given(ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_any_text_is_counted_by_both(exact: Tokenizer, heuristic: Tokenizer, text: str) -> None:
    assert (exact.count(text).tokens == 0) == (text == "")
    assert (heuristic.count(text).tokens == 0) == (text == "")


def test_a_panic_of_tiktoken_falls_back_to_the_heuristic(exact: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):  # pyo3's is a BaseException too
        pass

    def panic(text: str) -> list[int]:
        raise PanicException

    monkeypatch.setattr(exact, "_encode", panic)
    assert exact.count("hello world") == (2, "heuristic")


def test_ctrl_c_during_a_count_is_not_swallowed(exact: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(text: str) -> list[int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(exact, "_encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        exact.count("hello world")


def test_a_text_beyond_the_bound_is_sampled_and_says_it_is_an_estimate(exact: Tokenizer) -> None:
    text = "All work and no play makes Jack a dull boy. " * 10_000
    assert len(text) > EXACT_UP_TO_CHARS
    exactly = sum(exact.count(text[i : i + 100_000]).tokens for i in range(0, len(text), 100_000))
    sampled = exact.count(text)
    assert sampled.source == "heuristic"
    assert sampled.tokens == pytest.approx(exactly, rel=0.02)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("The quick brown fox jumps over the lazy dog, and then it rests for a while.", 0.15),
        ('{"id": 123456, "tags": ["red", "green"], "price": 12.50, "ok": true}', 0.2),
        ("def total(prices: list[float]) -> float:\n    return sum(prices) * 1.19\n", 0.2),
        ("重力是自然界的基本力之一。它使物体相互吸引,并使我们留在地面上。", 0.25),
        ("Вчера вечером мы обсуждали планы на следующую неделю.", 0.25),
    ],
)
def test_the_heuristic_is_near_the_exact_count(exact: Tokenizer, text: str, error: float) -> None:
    many = text * 20
    assert tokens.estimate(many) == pytest.approx(exact.count(many).tokens, rel=error)


def test_messages_count_their_markup_and_the_system_prompt(exact: Tokenizer, heuristic: Tokenizer) -> None:
    messages = [Message("user", "hello world"), Message("assistant", "hello world")]
    assert exact.count_messages(messages) == (2 + 4 + 2 + 4 + 3, "tiktoken")
    assert exact.count_messages(messages, "hello world") == (3 * (2 + 4) + 3, "tiktoken")
    assert heuristic.count_messages(messages).source == "heuristic"
    assert exact.count_messages([]) == (3, "tiktoken")


def test_the_module_counts_with_the_shipped_file() -> None:
    assert tokens.warm(timeout=30)
    assert tokens.count("hello world") == (2, "tiktoken")
    assert tokens.count_messages([Message("user", "hello world")]) == (9, "tiktoken")
