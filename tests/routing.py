"""What the tests of the engine share: routers on a fault server, and a log that is a list."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from router import Attempt, Router, Settings, UnknownPrompt
from router.lifeline import Timeouts
from router.log.interaction import Interaction
from router.settings import Secret
from tests.faults.server import FaultServer

GROQ_MODEL, GEMINI_MODEL = "openai/gpt-oss-20b", "gemini-3.5-flash-lite"
GROQ_KEY, GEMINI_KEY = "planted-for-groq-81234", "planted-for-gemini-85678"
PATIENT = Timeouts(connect=10, first_token=10, idle=10, total=20)


class Kept:
    """A log in memory."""

    def __init__(self) -> None:
        self.rows: list[Interaction] = []
        self.template_texts: list[str | None] = []
        self.appended = threading.Event()

    def begin(self, interaction: Interaction, template_text: str | None, lasts_s: float) -> None:
        pass

    def keep(self, prompt_id: str) -> None:
        pass

    def append(self, interaction: Interaction, template_text: str | None = None) -> None:
        self.rows.append(interaction)
        self.template_texts.append(template_text)
        self.appended.set()

    def rate(self, prompt_id: str, rating: int | None) -> None:
        for at, row in enumerate(self.rows):
            if row.prompt_id == prompt_id:
                self.rows[at] = replace(row, rating=rating)
                return
        raise UnknownPrompt(prompt_id)

    @property
    def row(self) -> Interaction:
        """The only one."""
        (row,) = self.rows
        return row


def settings_for(faults: FaultServer, tmp_path: Path, **changed: Any) -> Settings:
    """Both providers configured, both on the fault server, patient unless said otherwise."""
    values: dict[str, Any] = {
        "groq_api_key": Secret(GROQ_KEY),
        "gemini_api_key": Secret(GEMINI_KEY),
        "groq_api_url": faults.groq_url,
        "gemini_api_url": faults.gemini_url,
        "gemini_backend": "rest",
        "log_dir": tmp_path / "logs",
        "templates_file": tmp_path / "templates.json",
        "timeouts": PATIENT,
    }
    return Settings(**{**values, **changed})


class Routing:
    """Makes routers on one fault server; all share `log`."""

    def __init__(self, faults: FaultServer, tmp_path: Path) -> None:
        self.faults = faults
        self.log = Kept()
        self._tmp_path = tmp_path
        self._routers: list[Router] = []

    def __call__(self, **settings: Any) -> Router:
        self._routers.append(Router(settings_for(self.faults, self._tmp_path, **settings), log=self.log))
        return self._routers[-1]

    def sent(self) -> tuple[int, int]:
        """How many requests GROQ and Gemini have received."""
        return self.faults.requests.count("groq"), self.faults.requests.count("gemini")

    def close(self) -> None:
        for router in self._routers:
            router.close()


def trail(attempts: Iterable[Attempt]) -> list[tuple[str, str, str | None, int | None]]:
    """What was tried, in short: provider, outcome, kind, status code."""
    return [(a.provider, a.outcome, a.kind, a.status_code) for a in attempts]
