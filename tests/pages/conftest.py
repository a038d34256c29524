from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from router import Router, close_shared_router, shared_router
from tests.faults.server import FaultServer

ROOT = Path(__file__).parents[2]
OpenApp = Callable[[], AppTest]


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OpenApp]:
    """Opens the app as a browser does, with a log and templates of its own. Set the environment before calling it."""
    templates = tmp_path / "prompt_templates.json"
    shutil.copy(ROOT / "prompt_templates.json", templates)
    monkeypatch.setenv("TEMPLATES_FILE", str(templates))
    monkeypatch.chdir(tmp_path)
    close_shared_router()
    yield lambda: AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=30).run()
    close_shared_router()


@pytest.fixture
def with_keys(monkeypatch: pytest.MonkeyPatch, faults: FaultServer) -> FaultServer:
    """Both providers configured, and played by the fault server."""
    for name, value in {
        "GROQ_API_KEY": "test-key-groq",
        "GROQ_API_URL": faults.groq_url,
        "GEMINI_API_KEY": "test-key-gemini",
        "GEMINI_API_URL": faults.gemini_url,
        "GEMINI_BACKEND": "rest",
    }.items():
        monkeypatch.setenv(name, value)
    return faults


@pytest.fixture
def router() -> Router:
    """The router that the pages use. Ask for it after the environment is set."""
    return shared_router()
