from __future__ import annotations

import re
import shutil
import traceback
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from router import Settings, SettingsError
from router.lifeline import Timeouts
from router.settings import Secret
from tests.conftest import ENVIRONMENT

KEY = "gsk_0123456789abcdef"
REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "given", "attribute", "value"),
    [
        ("GROQ_API_KEY", KEY, "groq_api_key", Secret(KEY)),
        ("GROQ_MODEL", "openai/gpt-oss-120b", "groq_model", "openai/gpt-oss-120b"),
        ("GROQ_API_URL", "http://localhost:11434/v1/chat/completions", "groq_api_url", None),
        ("GEMINI_API_KEY", KEY, "gemini_api_key", Secret(KEY)),
        ("GEMINI_MODEL", "gemini-3.5-flash", "gemini_model", "gemini-3.5-flash"),
        ("GEMINI_MODEL", "models/gemini-3.5-flash", "gemini_model", "gemini-3.5-flash"),
        ("GEMINI_API_URL", "https://proxy.example/gemini/", "gemini_api_url", "https://proxy.example/gemini"),
        ("GEMINI_BACKEND", "REST", "gemini_backend", "rest"),
        ("FALLBACK", "gemini, groq, gemini", "fallback", ("gemini", "groq")),
        ("LOG_DIR", "/var/log/router", "log_dir", Path("/var/log/router")),
        ("DATABASE_URL", "postgresql+psycopg://u:p@db/router", "database_url", None),
        ("TEMPLATES_FILE", "mine.json", "templates_file", Path("mine.json")),
        ("API_TOKEN", "a-token-of-ours", "api_token", Secret("a-token-of-ours")),
        ("CONNECT_TIMEOUT", "1.5", "timeouts", Timeouts(connect=1.5)),
        ("FIRST_TOKEN_TIMEOUT", "2", "timeouts", Timeouts(first_token=2)),
        ("IDLE_TIMEOUT", "3e0", "timeouts", Timeouts(idle=3)),
        ("TOTAL_TIMEOUT", "4", "timeouts", Timeouts(total=4)),
        ("MAX_PROMPT_CHARS", "500", "max_prompt_chars", 500),
        ("MAX_COST_PER_DAY_USD", "0.5", "max_cost_per_day_usd", 0.5),
        ("MAX_REQUESTS_PER_MINUTE", "30", "max_requests_per_minute", 30),
    ],
)
def test_each_variable_sets_one_thing_and_leaves_the_rest(name: str, given: str, attribute: str, value: Any) -> None:
    settings = Settings.from_env({name: f" {given}\n"})
    assert getattr(settings, attribute) == (given if value is None else value)
    others = [field.name for field in fields(Settings) if field.name != attribute]
    assert [getattr(settings, other) for other in others] == [getattr(Settings(), other) for other in others]


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.groq_api_url == "https://api.groq.com/openai/v1/chat/completions"
    assert settings.gemini_api_url == "https://generativelanguage.googleapis.com"
    assert (settings.groq_model, settings.gemini_model) == ("openai/gpt-oss-20b", "gemini-3.5-flash-lite")
    assert (settings.gemini_backend, settings.fallback) == ("sdk", ("groq", "gemini"))
    assert (settings.log_dir, settings.templates_file) == (Path("logs"), Path("prompt_templates.json"))
    assert settings.timeouts == Timeouts(connect=5, first_token=20, idle=15, total=120)
    assert settings.max_prompt_chars == 200_000
    assert (settings.groq_api_key, settings.gemini_api_key, settings.api_token) == (None, None, None)
    assert settings.database_url is None


def test_env_file_is_read_and_a_real_variable_wins(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "\ufeffGROQ_MODEL=from-file",
        "export GEMINI_MODEL='gemini-from-file' # why",
        f"GROQ_API_KEY={KEY}",
        "IDLE_TIMEOUT",
    ]
    (workdir / ".env").write_text("\r\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("GROQ_MODEL", "from-environment")
    settings = Settings.from_env()
    assert settings.groq_model == "from-environment"
    assert settings.gemini_model == "gemini-from-file"
    assert settings.groq_api_key == Secret(KEY)
    assert settings.timeouts.idle == 15


def test_without_an_env_file_the_environment_is_all(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    assert Settings.from_env().groq_api_key == Secret(KEY)


def test_an_env_file_of_the_parent_folder_is_not_read(workdir: Path) -> None:
    (workdir.parent / ".env").write_text("GROQ_MODEL=of-someone-else", encoding="utf-8")
    assert Settings.from_env().groq_model == Settings().groq_model


def test_an_env_file_that_is_no_text_is_named(workdir: Path) -> None:
    (workdir / ".env").write_bytes(f"GROQ_API_KEY={KEY}\xff".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"\.env.*UTF-8") as caught:
        Settings.from_env()
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("written", [f"  {KEY}\t\n", f'"{KEY}"', f"'{KEY}'", f"\ufeff{KEY}\u200b", f"{KEY}\r"])
def test_a_key_is_stripped_of_what_copying_adds(written: str) -> None:
    assert Settings.from_env({"GROQ_API_KEY": written}).groq_api_key == Secret(KEY)


@pytest.mark.parametrize("name", ["GROQ_API_KEY", "GEMINI_API_KEY"])
@pytest.mark.parametrize(
    "placeholder",
    [
        *("your-groq-api-key-here", "your_api_key", "YOUR-KEY", "<your key>", "<GROQ_API_KEY>", "xxxxxxxx", "..."),
        *("insert-key", "replace_me", "changeme-here", "", "   ", '""'),
    ],
)
def test_a_placeholder_counts_as_not_configured(name: str, placeholder: str) -> None:
    settings = Settings.from_env({name: placeholder})
    assert (settings.groq_api_key, settings.gemini_api_key) == (None, None)


@pytest.mark.parametrize("key", ["gsk_0123\u0456456789", "gsk_0123 456789", "gsk_0123\n456789", "gsk_0123\x07456789"])
@pytest.mark.parametrize("name", ["GROQ_API_KEY", "GEMINI_API_KEY", "API_TOKEN"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(name: str, key: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.from_env({name: key})
    assert caught.value.setting == name
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(vars(caught.value))
    assert "0123" not in shown
    assert "456789" not in shown


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        *[(name, url, "http") for name in ("GROQ_API_URL", "GEMINI_API_URL")
          for url in ("api.groq.com/v1", "ftp://host/v1", "https://", "http://a b/", "https://host/v1?key=1", "x")],
        *[(name, number, "above 0") for number in ("0", "-1", "soon", "nan", "inf", "1,5", "5s")
          for name in ("CONNECT_TIMEOUT", "FIRST_TOKEN_TIMEOUT", "IDLE_TIMEOUT", "TOTAL_TIMEOUT", "MAX_PROMPT_CHARS")],
        ("MAX_COST_PER_DAY_USD", "0", "above 0"),
        ("MAX_REQUESTS_PER_MINUTE", "1.5", "whole number"),
        ("GEMINI_BACKEND", "grpc", "sdk, rest"),
        ("FALLBACK", "groq,openai", "openai"),
        ("FALLBACK", "demo", "demo"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_refused_by_name_and_with_the_remedy(name: str, value: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: ") as caught:
        Settings.from_env({name: value})
    assert caught.value.setting == name
    assert hint in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"GROQ_API_URL": f"https://user:{KEY}@host/v1"})
    assert KEY not in str(caught.value)


def test_an_empty_value_is_as_good_as_none() -> None:
    names = ("GROQ_MODEL", "GROQ_API_URL", "GEMINI_BACKEND", "FALLBACK", "LOG_DIR", "TOTAL_TIMEOUT", "DATABASE_URL")
    assert Settings.from_env(dict.fromkeys(names, " ")) == Settings()


def test_no_way_of_printing_settings_shows_a_key() -> None:
    given = dict.fromkeys(("GROQ_API_KEY", "GEMINI_API_KEY", "API_TOKEN"), KEY)
    settings = Settings.from_env({**given, "DATABASE_URL": f"postgresql://user:{KEY}@db/router"})
    secret = settings.groq_api_key
    assert secret is not None
    as_values = asdict(settings)
    del as_values["database_url"]  # a part of the connection, handed to the log alone
    shown = [repr(settings), str(settings), f"{settings}", repr(as_values), str(as_values), f"{secret!r:>20} {secret}"]
    shown += [repr([secret]), repr(getattr(secret, "__dict__", ""))]
    assert not [text for text in shown if KEY in text]
    assert secret.reveal() == KEY


def test_a_setting_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        Settings().groq_model = "another"  # type: ignore[misc]


def test_the_readme_and_the_example_name_every_variable_and_no_other() -> None:
    table = REPOSITORY.joinpath("README.md").read_text().partition("| variable |")[2].partition("\n\n")[0]
    in_readme = [name for row in table.splitlines() for name in re.findall(r"`([A-Z][A-Z_]+)`", row.split("|")[1])]
    example = REPOSITORY.joinpath(".env.example").read_text()
    in_example = set(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", example, re.M)) - {
        "POSTGRES_PASSWORD"
    }  # compose.yaml's own
    assert set(in_readme) == in_example == set(ENVIRONMENT)


def test_the_example_is_what_holds_without_it(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOG_DIR")
    plain = Settings.from_env()
    shutil.copy(REPOSITORY / ".env.example", workdir / ".env")
    assert Settings.from_env() == plain
