from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.faults.server import FaultServer
from tests.postgresql import running
from tests.routing import Routing

ENVIRONMENT = (
    *("GROQ_API_KEY", "GROQ_MODEL", "GROQ_API_URL"),
    *("GEMINI_API_KEY", "GEMINI_MODEL", "GEMINI_API_URL", "GEMINI_BACKEND"),
    *("FALLBACK", "LOG_DIR", "DATABASE_URL", "TEMPLATES_FILE", "API_TOKEN"),
    *("CONNECT_TIMEOUT", "FIRST_TOKEN_TIMEOUT", "IDLE_TIMEOUT", "TOTAL_TIMEOUT"),
    *("MAX_PROMPT_CHARS", "MAX_COST_PER_DAY_USD", "MAX_REQUESTS_PER_MINUTE"),
)


@pytest.fixture(scope="session", autouse=True)
def google_is_imported() -> None:
    """Before any test: a warning, here an error, in a background import would break it for all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("google.generativeai")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the developer's keys, or writes to the developer's log."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "logs"))


@pytest.fixture
def workdir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty current directory: no `.env`, no templates file."""
    path = tmp_path / "workdir"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def faults() -> Iterator[FaultServer]:
    """A provider server that misbehaves on demand."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def routing(faults: FaultServer, tmp_path: Path) -> Iterator[Routing]:
    """Routers on that server."""
    routing = Routing(faults, tmp_path)
    yield routing
    routing.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[sa.URL]:
    """A PostgreSQL server for all tests that need one."""
    with running() as url:
        yield url
