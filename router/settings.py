"""`.env` and the environment, read once into one frozen `Settings`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from router.errors import SettingsError
from router.lifeline import Timeouts

GROQ_API_URL = "https://api.groq.com/openai/v1/chat/completions"
GEMINI_API_URL = "https://generativelanguage.googleapis.com"
_PLACEHOLDER = re.compile(
    r"^(your|my|insert|enter|paste|replace|change|put|add)[-_ ]|^<.*>$|^x{3,}$|^\.+$|-here$", re.I
)


class Secret:
    """A key that never shows itself: only `reveal()` gives its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the provider's header and nothing else."""
        return self._text

    def __repr__(self) -> str:
        return "[secure]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be configured, with the defaults that hold when nothing is.

    A key is None when it is missing or a placeholder. Timeouts are in seconds.
    """

    groq_api_key: Secret | None = None
    groq_model: str = "openai/gpt-oss-20b"
    groq_api_url: str = GROQ_API_URL
    gemini_api_key: Secret | None = None
    gemini_model: str = "gemini-3.5-flash-lite"
    gemini_api_url: str = GEMINI_API_URL
    gemini_backend: str = "sdk"
    fallback: tuple[str, ...] = ("groq", "gemini")
    log_dir: Path = Path("logs")
    database_url: str | None = field(default=None, repr=False)  # may hold a password
    templates_file: Path = Path("prompt_templates.json")
    api_token: Secret | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_prompt_chars: int = 200_000
    max_cost_per_day_usd: float | None = None
    max_requests_per_minute: int | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read `env`, by default `.env` in the working folder overridden by the real environment.

        An empty value counts as not set. Raises SettingsError, which names the variable, for one that cannot be used.
        """
        found = _read(env)
        if isinstance(found, SettingsError):
            # Raised from here, where no variable holds a key: a traceback may be shown with its variables.
            raise found.with_traceback(None)
        return found


def _read(env: Mapping[str, str] | None) -> Settings | SettingsError:
    try:
        return _parse(_environment() if env is None else env)
    except SettingsError as error:
        error.__context__ = None
        return error


def _parse(env: Mapping[str, str]) -> Settings:
    # Quotes come along where a file was not read by dotenv, as with docker's --env-file.
    given = {name: text.strip().strip("\"'") for name, text in env.items()}
    values = {name: text for name, text in given.items() if text}
    default = Settings()
    return Settings(
        groq_api_key=_key(values, "GROQ_API_KEY"),
        groq_model=values.get("GROQ_MODEL", default.groq_model),
        groq_api_url=_url(values, "GROQ_API_URL", default.groq_api_url),
        gemini_api_key=_key(values, "GEMINI_API_KEY"),
        gemini_model=values.get("GEMINI_MODEL", default.gemini_model).removeprefix("models/"),
        gemini_api_url=_url(values, "GEMINI_API_URL", default.gemini_api_url).rstrip("/"),
        gemini_backend=_choice(values, "GEMINI_BACKEND", ("sdk", "rest"), default.gemini_backend),
        fallback=_fallback(values, default.fallback),
        log_dir=Path(values.get("LOG_DIR", default.log_dir)),
        database_url=values.get("DATABASE_URL"),
        templates_file=Path(values.get("TEMPLATES_FILE", default.templates_file)),
        api_token=_token(values, "API_TOKEN"),
        timeouts=Timeouts(
            connect=_number(values, "CONNECT_TIMEOUT", default.timeouts.connect),
            first_token=_number(values, "FIRST_TOKEN_TIMEOUT", default.timeouts.first_token),
            idle=_number(values, "IDLE_TIMEOUT", default.timeouts.idle),
            total=_number(values, "TOTAL_TIMEOUT", default.timeouts.total),
        ),
        max_prompt_chars=_whole_limit(values, "MAX_PROMPT_CHARS") or default.max_prompt_chars,
        max_cost_per_day_usd=_limit(values, "MAX_COST_PER_DAY_USD"),
        max_requests_per_minute=_whole_limit(values, "MAX_REQUESTS_PER_MINUTE"),
    )


def _environment() -> dict[str, str]:
    from dotenv import dotenv_values  # here, so that `import router` needs no more than httpx

    path = Path.cwd() / ".env"
    try:
        file = dotenv_values(path, encoding="utf-8-sig") if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(".env", f"cannot be read as UTF-8 text ({type(error).__name__}).") from None
    return {name: text for name, text in file.items() if text is not None} | dict(os.environ)


def _key(values: Mapping[str, str], name: str) -> Secret | None:
    """A provider's key; a placeholder as in `.env.example` is none."""
    return None if _PLACEHOLDER.search(values.get(name, "")) else _token(values, name)


def _token(values: Mapping[str, str], name: str) -> Secret | None:
    text = values.get(name, "").strip("\u200b\ufeff ")
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        # The value itself stays out of the message: it is most likely a key with one wrong character.
        raise SettingsError(name, "holds a character that no key has (not plain ASCII). Copy the key again.")
    return Secret(text)


def _url(values: Mapping[str, str], name: str, default: str) -> str:
    text = values.get(name, default)
    if not re.match(r"https?://[^\s/?#@]+(/[^\s?#]*)?$", text):
        raise SettingsError(name, "must be an http:// or https:// URL without a user name, a query or a fragment.")
    return text


def _choice(values: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    text = values.get(name, default).lower()
    if text not in choices:
        raise SettingsError(name, f"must be one of {', '.join(choices)}, not {text!r}.")
    return text


def _fallback(values: Mapping[str, str], default: tuple[str, ...]) -> tuple[str, ...]:
    if "FALLBACK" not in values:
        return default
    names = tuple(dict.fromkeys(part.strip().lower() for part in values["FALLBACK"].split(",") if part.strip()))
    wrong = [name for name in names if name not in ("groq", "gemini")]
    if wrong:
        raise SettingsError(
            "FALLBACK", f"lists providers out of groq and gemini, such as groq,gemini; not {wrong[0]!r}."
        )
    return names


def _number(values: Mapping[str, str], name: str, default: float) -> float:
    if name not in values:
        return default
    try:
        number = float(values[name])
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise SettingsError(name, f"must be a number above 0, not {values[name]!r}.")
    return number


def _limit(values: Mapping[str, str], name: str) -> float | None:
    return _number(values, name, 0.0) if name in values else None


def _whole_limit(values: Mapping[str, str], name: str) -> int | None:
    limit = _limit(values, name)
    if limit is not None and limit != int(limit):
        raise SettingsError(name, f"must be a whole number, not {values[name]!r}.")
    return None if limit is None else int(limit)
