"""The real server, as `uvicorn streamlit_app:app` starts it, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.faults.server import FaultServer

REPOSITORY = Path(__file__).parents[1]
GROQ_KEY = "test-key-groq"
START_SECONDS = 60.0

# Links are signed with a secret of the server's process, so that process has to make them.
SIGNING = """
import json, uvicorn
from router import api
links = [api.signed_link(path, {}) for path in ("/logs/prompts.csv", "/logs/prompts.json")]
print("SIGNED", json.dumps(links), flush=True)
uvicorn.run("streamlit_app:app", port=0)
"""


class Server:
    """A server that runs. `client` calls it; `output` is every line that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.output: list[str] = []
        self.client = httpx.Client(trust_env=False, timeout=20)
        self._process = process
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # To the end: a full pipe would stop the server.
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output.append(line)
            found = re.search(r"running on (http://\S+)", line)
            if found:
                self.client.base_url = httpx.URL(found[1])
                self._ready.set()
        self._ready.set()

    def wait_until_ready(self) -> None:
        assert self._ready.wait(START_SECONDS), "the server did not start in time"
        assert self._process.poll() is None, "".join(self.output)

    def kill(self) -> None:
        """End it as a crash does: it has no moment to write anything."""
        self._process.kill()
        self._process.wait(15)

    def close(self) -> None:
        """Ask it to end; make it end."""
        self.client.close()
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(15)
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def serving(upstream: FaultServer, folder: Path, *, script: str | None = None, **environment: str) -> Iterator[Server]:
    """Run the app with GROQ at `upstream` and its log in `folder`, until the block is left.

    script: what to run in place of `uvicorn streamlit_app:app`.
    """
    settings = {
        "GROQ_API_KEY": GROQ_KEY,
        "GROQ_API_URL": upstream.groq_url,
        "FALLBACK": "groq",
        "LOG_DIR": str(folder / "logs"),
        "TEMPLATES_FILE": str(REPOSITORY / "prompt_templates.json"),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = ["-c", script] if script else ["-m", "uvicorn", "streamlit_app:app", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,  # no .env here
        env={**os.environ, **settings, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.close()
