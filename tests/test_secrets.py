"""A key that a provider quotes back never leaves: not in an error, an answer, a log, a file or the output."""

from __future__ import annotations

import contextlib
import logging
import random
import traceback
from pathlib import Path
from typing import Any

import pytest

from router import Router, RouterError
from tests.faults.behaviours import Behaviour, Body
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.routing import GEMINI_KEY, GROQ_KEY, settings_for

KEYS = (GROQ_KEY, GEMINI_KEY)
PARTS = tuple(part for key in KEYS for part in (key[:12], key[-12:]))
STREAM = "text/event-stream"
ECHOES = {
    "bad key": Fault.bad_key("Incorrect API key provided: {key}. Bearer {key}"),
    "bad request": Fault.status(400, message="No such parameter {key}"),
    "not found": Fault.status(404, message="{key} has no model {model}"),
    "rate limit": Fault.status(429, message="Slow down, {key}", headers={"X-Key": "{key}"}),
    "server error": Fault.status(500, message="{key}" * 100),
    "across the end of a quote": Fault.status(500, message="x" * 485 + "{key}"),
    "odd header": Body(b"", 503, headers={"Retry-After": "{key}"}),
    "error page": Fault.body(b"<p>{key}</p>", status=502),
    "error text": Fault.body(b'{"error": "{key}"}', status=400, content_type="application/json"),
    "web page": Fault.body(b"<p>{key}</p>"),
    "redirect": Fault.redirect("https://evil.example/?key={key}"),
    "in-band error": Fault.error_event(500, message="{key}"),
    "in-band error, later": Fault.error_event(500, message="{key}", after=2),
    "broken JSON": Fault.malformed_json(text="{key}"),
    "broken JSON, later": Fault.malformed_json(2, text="{key}"),
    "a string": Fault.body(b'data: "{key}"\n\n', content_type=STREAM),
    "a number that is none": Fault.body(
        b'data: {"usage": {"prompt_tokens": "{key}"}, "usageMetadata": {"promptTokenCount": "{key}"}, '
        b'"choices": [{"delta": {"content": "x"}}], "candidates": [{"content": {"parts": [{"text": "x"}]}}]}\n\n',
        content_type=STREAM,
    ),
    "lists that are none": Fault.body(b'data: {"choices": "{key}", "candidates": "{key}"}\n\n', content_type=STREAM),
    "another document": Fault.body(b'{"error": {"message": "{key}"}}', content_type="application/json"),
}


def everything_about(error: BaseException) -> str:
    """As a tool shows it that formats causes, contexts, attributes and the variables of every frame."""
    formatted = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "".join(formatted) + repr(error) + repr(vars(error)) + repr(error.args)


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("backend", ["groq", "gemini sdk", "gemini rest"])
@pytest.mark.parametrize(("how", "fallback"), [("chat", False), ("stream", True)])
def test_a_quoted_key_goes_nowhere(
    faults: FaultServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    echo: Behaviour,
    fallback: bool,
    how: str,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(random, "uniform", lambda low, high: low)  # so that no retry waits
    name, _, gemini_backend = backend.partition(" ")
    if gemini_backend == "sdk":
        pytest.importorskip("google.generativeai")
    faults.script("groq", echo)
    faults.script("gemini", echo)
    settings = settings_for(faults, tmp_path, gemini_backend=gemini_backend or "rest")
    with Router(settings) as router:
        with pytest.raises(RouterError) as caught:
            ask(router, how, model=name, fallback=fallback)
        shown = everything_about(caught.value)
        assert caught.value.attempts
        shown += repr(caught.value.attempts) + repr(router.health()) + repr(vars(router)["providers"])
    written = {path.name: path.read_bytes() for path in (tmp_path / "logs").rglob("*") if path.is_file()}
    assert len(written["prompts.json"]) > 100
    shown += repr(capfd.readouterr()) + caplog.text + repr(written)
    assert not [part for part in PARTS if part in shown]


def ask(router: Router, how: str, **options: Any) -> None:
    if how == "chat":
        router.chat("Hi.", **options)
    else:
        with contextlib.closing(router.stream("Hi.", **options)) as stream:
            list(stream)


@pytest.mark.parametrize(
    "quoted", ["gsk_abcdefghijklmnop1234", "AIzaSyabcdefghijklmnopqrst", "sk-proj-abcdefghijklmnop"]
)
def test_what_merely_looks_like_a_key_is_kept_back_as_well(faults: FaultServer, tmp_path: Path, quoted: str) -> None:
    faults.script("groq", Fault.bad_key(f"Key {quoted} of your colleague was refused."))
    with Router(settings_for(faults, tmp_path)) as router, pytest.raises(RouterError) as caught:
        router.chat("Hi.", fallback=False)
    assert "of your colleague" in str(caught.value)
    assert quoted not in str(caught.value) + repr(caught.value) + repr(caught.value.attempts)


@pytest.mark.parametrize("backend", ["groq", "gemini sdk", "gemini rest"])
def test_a_good_answer_shows_no_key_either(
    faults: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, backend: str
) -> None:
    caplog.set_level(logging.INFO)
    name, _, gemini_backend = backend.partition(" ")
    if gemini_backend == "sdk":
        pytest.importorskip("google.generativeai")
    with Router(settings_for(faults, tmp_path, gemini_backend=gemini_backend or "rest")) as router:
        answer = router.chat("Hi.", model=name)
        shown = repr(answer) + repr(router.settings) + repr(router.providers) + repr(router.models()) + caplog.text
    assert not [key for key in KEYS if key in shown]
    for path in (tmp_path / "logs").iterdir():
        assert not [key for key in KEYS if key.encode() in path.read_bytes()]
