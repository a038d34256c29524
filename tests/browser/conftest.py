"""The real app in a real Chromium. Debian's package is used: `apt-get install chromium`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.faults.server import FaultServer

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM or os.environ.get("REQUIRE_BROWSER"):
        return
    missing = pytest.mark.skip(reason="no Chromium found; install it or set CHROMIUM to its path")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(missing)


@dataclass(frozen=True)
class App:
    """A running server. `folder` holds its logs and its templates."""

    url: str
    folder: Path
    pid: int

    @property
    def csv(self) -> Path:
        return self.folder / "logs" / "prompts.csv"


StartApp = Callable[..., App]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[StartApp]:
    """Starts a fresh server as the README does, with these environment variables. Each gets its own log."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> App:
        port = free_port()
        shutil.copy(ROOT / "prompt_templates.json", tmp_path)
        environment = {
            **os.environ,
            "LOG_DIR": str(tmp_path / "logs"),
            "TEMPLATES_FILE": str(tmp_path / "prompt_templates.json"),
            "STREAMLIT_SERVER_PORT": str(port),
            "STREAMLIT_SERVER_HEADLESS": "true",
            "STREAMLIT_SERVER_FILE_WATCHER_TYPE": "none",
            **environment,
        }
        with (tmp_path / f"server-{port}.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(trust_env=False) as client:
            while process.poll() is None:
                try:
                    client.get(f"{url}/health", timeout=10).raise_for_status()
                    return App(url, tmp_path, process.pid)
                except httpx.TransportError:
                    continue
        raise AssertionError((tmp_path / f"server-{port}.log").read_text())

    yield start
    for process in processes:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def with_keys(faults: FaultServer) -> dict[str, str]:
    """The environment that makes the fault server both providers."""
    return {
        "GROQ_API_KEY": "test-key-groq",
        "GROQ_API_URL": faults.groq_url,
        "GEMINI_API_KEY": "test-key-gemini",
        "GEMINI_API_URL": faults.gemini_url,
        "GEMINI_BACKEND": "rest",
    }


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of 1440 × 900. At its end, nothing may have been fetched from elsewhere."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    elsewhere: list[str] = []
    page.on("request", lambda request: None if "127.0.0.1" in request.url else elsewhere.append(request.url))
    page.set_default_timeout(20_000)
    yield page
    page.close()
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []
