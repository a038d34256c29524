"""What is asked, refused, counted and priced; and the package as its README shows it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router import BadRequest, Message, Router, TemplatesBroken, UnknownPrompt, UnknownTemplate, catalog, tokens
from tests.faults.behaviours import Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.routing import GROQ_MODEL, Routing, settings_for

REPOSITORY = Path(__file__).parents[1]
TEMPLATES = {
    "friendly": "Be kind.\n\n{prompt}",
    "json": '{"ask": "{prompt}", "tone": "{tone}", "odd": {prompt.__class__}, "not": {missing}, "n": {{prompt}}}',
    "lost": "No place for it.",
}


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    path = tmp_path / "templates.json"
    path.write_text(json.dumps(TEMPLATES), encoding="utf-8")
    return path


def sent_prompt(routing: Routing) -> str:
    return str(routing.faults.requests.last("groq").body["messages"][-1]["content"])


def test_a_template_surrounds_the_prompt_and_the_log_keeps_what_was_typed(routing: Routing, templates: Path) -> None:
    routing().chat("Explain gravity.", template="friendly")
    assert sent_prompt(routing) == "Be kind.\n\nExplain gravity."
    row = routing.log.row
    assert (row.prompt, row.template) == ("Explain gravity.", "friendly")
    assert row.template_version == Router(routing().settings).templates.get("friendly").version
    assert routing.log.template_texts == [TEMPLATES["friendly"]]


def test_braces_in_a_template_and_in_a_prompt_come_out_as_they_are(routing: Routing, templates: Path) -> None:
    prompt = 'Why {prompt} and {tone}? {"a": {0}} {prompt.__init__.__globals__}'
    routing().chat(prompt, template="json", variables={"tone": "{prompt}"})
    expected = TEMPLATES["json"].replace("{prompt}", "\0").replace("{tone}", "{prompt}").replace("\0", prompt)
    assert sent_prompt(routing) == expected
    assert routing.log.row.params == {"variables": {"tone": "{prompt}"}}


def test_an_unknown_template_is_refused_with_the_names_there_are(routing: Routing, templates: Path) -> None:
    with pytest.raises(UnknownTemplate, match="friendly, json, lost"):
        routing().chat("Hi.", template="freindly")
    with pytest.raises(BadRequest, match=r"\{prompt\}"):
        routing().chat("Hi.", template="lost")
    templates.write_text('{"friendly": 5}', encoding="utf-8")
    with pytest.raises(TemplatesBroken, match="line 1, column 14"):
        routing().chat("Hi.", template="friendly")
    assert routing.sent() == (0, 0)
    assert routing.log.rows == []


def test_history_and_system_prompts_become_one_request(routing: Routing) -> None:
    history = [Message("system", "Be brief."), Message("user", "Who?"), Message("assistant", "I.")]
    routing().chat("Really?", system="Be kind.", history=history)
    assert routing.faults.requests.last("groq").body["messages"] == [
        {"role": "system", "content": "Be kind.\n\nBe brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "I."},
        {"role": "user", "content": "Really?"},
    ]
    row = routing.log.row
    assert (row.prompt, row.system) == ("Really?", "Be kind.")
    assert [turn["content"] for turn in row.params["history"]] == ["Be brief.", "Who?", "I."]


def test_every_option_of_the_contract_is_taken(routing: Routing, templates: Path) -> None:
    options: dict[str, Any] = {
        "model": "groq:openai/gpt-oss-120b",
        "template": "json",
        "variables": {"tone": "warm"},
        "system": "Be brief.",
        "history": (),
        "temperature": 0,
        "max_tokens": 1,
        "top_p": 1,
        "fallback": False,
        "run_id": "r1",
        "parent_id": "p1",
    }
    router = routing()
    answer = router.chat("Hi.", **options)
    with router.stream("Hi.", **options) as stream:
        list(stream)
    assert answer.model == stream.answer.model == "openai/gpt-oss-120b"
    body = routing.faults.requests.last("groq").body
    assert (body["temperature"], body["max_completion_tokens"], body["top_p"]) == (0, 1, 1)
    for row in routing.log.rows:
        assert (row.run_id, row.parent_id, row.system) == ("r1", "p1", "Be brief.")
        expected = {"temperature": 0, "max_tokens": 1, "top_p": 1, "fallback": False, "variables": {"tone": "warm"}}
        assert row.params == expected


@pytest.mark.parametrize(
    "options",
    [
        *[{"temperature": value} for value in (-0.1, 2.1, 10**5000, math.nan, math.inf, True, "warm")],
        *[{"top_p": value} for value in (-0.1, 1.1, math.nan, False)],
        *[{"max_tokens": value} for value in (0, -1, 10**5000, 1.5, True, "many")],
        *[{"model": value} for value in ("", "openai", "GROQ", "groq/openai", ":m")],
    ],
)
def test_a_parameter_out_of_range_is_refused_before_anything_is_sent(routing: Routing, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(BadRequest, match="provider" if name == "model" else name):
        routing().stream("Hi.", **options)
    assert routing.sent() == (0, 0)


def test_a_variable_may_be_anything_that_makes_a_text(routing: Routing, templates: Path) -> None:
    routing().chat("Hi.", template="json", variables={"tone": Path("a/b"), "odd": 2, "none": None})
    assert '"tone": "a/b"' in sent_prompt(routing)
    assert routing.log.row.params == {"variables": {"tone": "a/b", "odd": 2, "none": None}}


def test_a_variable_nested_without_end_is_refused_before_anything_is_sent(routing: Routing) -> None:
    endless: list[Any] = []
    for _ in range(5000):
        endless = [endless]
    with pytest.raises(BadRequest, match="'tone'"):
        routing().stream("Hi.", variables={"tone": endless})
    assert routing.sent() == (0, 0)


@pytest.mark.parametrize("rating", [0, 6, -1, 4.0, "5", True])
def test_a_rating_that_is_not_1_to_5_is_refused(routing: Routing, rating: Any) -> None:
    router = routing()
    answer = router.chat("Hi.")
    with pytest.raises(BadRequest, match="1 to 5"):
        router.rate(answer.prompt_id, rating)
    assert routing.log.row.rating is None


@pytest.mark.parametrize("name", ["model", "template", "conversation_id", "run_id", "parent_id"])
@pytest.mark.parametrize("value", ["x" * 201, 5])
def test_a_name_that_the_log_cannot_hold_is_refused(routing: Routing, name: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=name):
        routing().stream("Hi.", **{name: value})
    assert routing.sent() == (0, 0)


@pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
def test_an_empty_prompt_is_refused(routing: Routing, prompt: str) -> None:
    with pytest.raises(BadRequest, match="empty"):
        routing().chat(prompt)
    assert routing.sent() == (0, 0)


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": "x" * 101},
        {"prompt": "x" * 91, "template": "friendly"},
        {"prompt": "x", "system": "x" * 100},
        {"prompt": "x", "history": [Message("user", "x" * 60), Message("assistant", "x" * 60)]},
    ],
)
def test_a_prompt_that_is_too_long_names_the_limit_and_is_not_sent(
    routing: Routing, templates: Path, asked: dict[str, Any]
) -> None:
    router = routing(max_prompt_chars=100)
    with pytest.raises(BadRequest, match=r"100 \(MAX_PROMPT_CHARS"):
        router.chat(**asked)
    assert routing.sent() == (0, 0)
    assert router.chat("x" * 100).status == "ok"


def test_text_that_no_file_can_hold_is_replaced_on_the_way_in_and_out(faults: FaultServer, tmp_path: Path) -> None:
    event = (
        rb'data: {"choices": [{"delta": {"content": "a\ud800b\u0000c\ud83d\ude00"}, "finish_reason": "stop"}]}'
        + b"\n\n"
    )
    faults.script("groq", Fault.body(event, content_type="text/event-stream"))
    with Router(settings_for(faults, tmp_path)) as router:
        answer = router.chat("x\ud800y\0z👋", system="\udfff", history=[Message("user", "\ud800")])
        assert answer.text == "a\ufffdb\ufffdc😀"
        body = faults.requests.last("groq").body
        assert [message["content"] for message in body["messages"]] == ["\ufffd", "\ufffd", "x\ufffdy\ufffdz👋"]
        router.rate(answer.prompt_id, 4)
    (row,) = json.loads((tmp_path / "logs" / "prompts.json").read_text(encoding="utf-8"))
    assert (row["prompt"], row["response"], row["rating"]) == ("x\ufffdy\ufffdz👋", "a\ufffdb\ufffdc😀", 4)


def test_a_surrogate_pair_split_over_two_pieces_harms_nothing(routing: Routing) -> None:
    events = rb'data: {"choices":[{"delta":{"content":"\ud83d"}}]}' + b"\n\n"
    events += rb'data: {"choices":[{"delta":{"content":"\ude00!"},"finish_reason":"stop"}]}' + b"\n\n"
    routing.faults.script("groq", Fault.body(events, content_type="text/event-stream"))
    with routing().stream("Hi.") as stream:
        pieces = list(stream)
    assert "".join(pieces) == stream.answer.text
    stream.answer.text.encode()
    assert stream.answer.text.endswith("!")


def test_usage_says_who_counted(routing: Routing, monkeypatch: pytest.MonkeyPatch) -> None:
    router = routing()
    assert router.chat("Hi.").usage.source == "provider"
    routing.faults.script("groq", Reply("Things fall down.", usage=None))
    assert tokens.warm(timeout=30)
    usage = router.chat("Explain gravity.").usage
    assert usage.source == "tiktoken"
    assert usage.completion_tokens == tokens.count("Things fall down.").tokens
    assert usage.prompt_tokens == tokens.count_messages([Message("user", "Explain gravity.")]).tokens
    cold = tokens.Tokenizer(Path("nowhere"))
    monkeypatch.setattr(tokens, "count", cold.count)
    monkeypatch.setattr(tokens, "count_messages", cold.count_messages)
    usage = router.chat("Explain gravity.").usage
    assert (usage.source, usage.completion_tokens) == ("heuristic", cold.count("Things fall down.").tokens)
    assert [row.token_source for row in routing.log.rows] == ["provider", "tiktoken", "heuristic"]


def test_a_stopped_answer_is_counted_as_far_as_it_came(routing: Routing) -> None:
    routing.faults.script("groq", Fault.hang(2))
    with routing().stream("Count.") as stream:
        assert [next(stream), next(stream)] == ["one ", "two "]
    assert stream.answer.usage.completion_tokens == tokens.count("one two ").tokens
    assert stream.answer.usage.source != "provider"
    assert stream.answer.cost_usd is None


def test_cost_is_that_of_the_model_that_served(routing: Routing) -> None:
    routing.faults.script("groq", Fault.status(500))
    routing.faults.script("gemini", Reply(usage=(1000, 100)))
    answer = routing().chat("Hi.")
    model = catalog.find("gemini", answer.model)
    assert model is not None
    assert answer.cost_usd == routing.log.row.cost_usd == pytest.approx((1000 * 0.30 + 100 * 2.50) / 1e6)


def test_an_unknown_cost_is_unknown_and_not_nothing(routing: Routing) -> None:
    router = routing()
    assert router.chat("Hi.", model="groq:model-of-tomorrow").cost_usd is None
    routing.faults.script("groq", Reply(usage=None))
    assert router.chat("Hi.", model=f"groq:{GROQ_MODEL}").cost_usd is None
    assert [row.cost_usd for row in routing.log.rows] == [None, None]


def test_a_rating_overwrites_and_has_its_range(routing: Routing) -> None:
    router = routing()
    prompt_id = router.chat("Hi.").prompt_id
    for rating in (1, 5, None, 3):
        router.rate(prompt_id, rating)
        assert routing.log.row.rating == rating
    for wrong in (0, 6, True, 2.5, "5"):
        with pytest.raises(BadRequest):
            router.rate(prompt_id, wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownPrompt):
        router.rate("no-such-id", 5)
    assert routing.log.row.rating == 3


def run_python(script: str, workdir: Path, **environment: str) -> Any:
    """What a script prints as JSON, run by a fresh interpreter as anybody would."""
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=workdir,
        env={**known, "PYTHONPATH": str(REPOSITORY), "LOG_DIR": str(workdir / "logs"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


EXAMPLE = """
from router import Router, Message, RouterError

router = Router.from_env()
answer = router.chat("Explain gravity.", model="groq", template="friendly")
with router.stream("Explain gravity.", model="gemini") as stream:
    for piece in stream: ...
stream.answer
router.rate(answer.prompt_id, 5)
"""


@pytest.mark.parametrize("backend", ["sdk", "rest"])
def test_the_documented_example_runs_as_it_stands(faults: FaultServer, workdir: Path, backend: str) -> None:
    script = EXAMPLE + "import json; print(json.dumps([answer.text, stream.answer.text, stream.answer.status]))"
    faults.script("groq", Reply("Things fall."))
    faults.script("gemini", Reply("Masses attract."))
    lines = [
        *(f"GROQ_API_URL={faults.groq_url}", f"GEMINI_API_URL={faults.gemini_url}"),
        *("GROQ_API_KEY=test-key-groq", "GEMINI_API_KEY=test-key-gemini", f"GEMINI_BACKEND={backend}"),
        f"TEMPLATES_FILE={REPOSITORY / 'prompt_templates.json'}",
    ]
    (workdir / ".env").write_text("\n".join(lines), encoding="utf-8")
    assert run_python(script, workdir) == ["Things fall.", "Masses attract.", "ok"]
    first, second = json.loads((workdir / "logs" / "prompts.json").read_text(encoding="utf-8"))
    assert (first["provider"], first["template"], first["rating"]) == ("groq", "friendly", 5)
    assert (second["provider"], second["status"], second["rating"]) == ("gemini", "ok", None)
    assert faults.requests.last("groq").body["messages"][-1]["content"].endswith("Explain gravity.")


def test_importing_the_package_brings_httpx_and_little_else(workdir: Path) -> None:
    heavy = (
        "google.generativeai",
        "google.ai",
        "google.protobuf",
        "tiktoken",
        "pandas",
        "numpy",
        "sqlalchemy",
        "streamlit",
        "starlette",
        "requests",
        "dotenv",
    )
    script = f"import json, sys, router; print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    assert run_python(script, workdir, GROQ_API_KEY="k", GEMINI_API_KEY="k") == []
