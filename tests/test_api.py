"""The HTTP contract, over the server that `uvicorn streamlit_app:app` starts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from router.types import Attempt
from tests.faults.behaviours import Behaviour, Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.serving import Server, serving


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(upstream, folder, FIRST_TOKEN_TIMEOUT="0.5", MAX_PROMPT_CHARS="1000") as server:
        yield server


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.client


@pytest.fixture
def model() -> str:
    """One that no other test uses, and so none has brought into cooldown."""
    return f"groq:{uuid4().hex}"


def ask(client: httpx.Client, model: str = "groq", **body: Any) -> httpx.Response:
    return client.post("/chat", params={"model": model}, json={"prompt": "Explain gravity.", **body})


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert {"kind", "message", "attempts"} <= error.keys()
    return error


def logged(client: httpx.Client, prompt_id: str) -> dict[str, Any]:
    (row,) = [row for row in client.get("/logs/prompts.json").json() if row["prompt_id"] == prompt_id]
    return dict(row)


def test_chat_answers_with_every_field_of_the_contract(upstream: FaultServer, client: httpx.Client) -> None:
    upstream.script("groq", Reply("Things fall.", usage=(100, 10)))
    response = ask(client)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    answer = response.json()
    assert {"prompt_id", "latency_ms", "ttft_ms"} <= answer.keys()
    assert (answer["response"], answer["status"]) == ("Things fall.", "ok")
    assert (answer["provider"], answer["model"], answer["requested_model"]) == ("groq", "openai/gpt-oss-20b", "groq")
    tokens = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "source": "provider"}
    assert (answer["token_count"], answer["usage"]) == (110, tokens)
    assert answer["cost_usd"] == pytest.approx((100 * 0.075 + 10 * 0.30) / 1e6)
    assert [attempt.keys() for attempt in answer["attempts"]] == [set(Attempt.__slots__)]
    assert [attempt["outcome"] for attempt in answer["attempts"]] == ["ok"]


def test_the_two_documented_commands_work_as_they_stand(upstream: FaultServer, client: httpx.Client) -> None:
    upstream.script("groq", Reply("Things fall."))
    address = str(client.base_url).rstrip("/")
    chat = ["curl", "-s", "-X", "POST", f"{address}/chat?model=groq", "-H", "Content-Type: application/json"]
    chat += ["-d", '{"prompt": "Explain gravity.", "template": "friendly"}']
    answer = json.loads(subprocess.run(chat, capture_output=True, check=True, timeout=20).stdout)
    assert answer["response"] == "Things fall."
    sent = upstream.requests.last("groq").body["messages"][-1]["content"]
    assert sent.endswith("Explain gravity.")
    assert len(sent) > len("Explain gravity.")
    rate = ["curl", "-s", "-X", "POST", f"{address}/rate?prompt_id={answer['prompt_id']}&score=5"]
    rated = json.loads(subprocess.run(rate, capture_output=True, check=True, timeout=20).stdout)
    assert rated == {"prompt_id": answer["prompt_id"], "rating": 5}
    row = logged(client, answer["prompt_id"])
    assert (row["prompt"], row["template"], row["rating"]) == ("Explain gravity.", "friendly", 5)


def test_every_option_reaches_the_provider(upstream: FaultServer, client: httpx.Client, model: str) -> None:
    upstream.script("groq", Reply())
    history = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]
    options = {"system": "Be brief.", "history": history, "temperature": 0, "max_tokens": 7, "top_p": 0.5}
    assert ask(client, model, **options, fallback=False, variables={"tone": "warm"}).status_code == 200
    body = upstream.requests.last("groq").body
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "Who?", "I.", "Explain gravity."]
    assert (body["temperature"], body["max_completion_tokens"], body["top_p"]) == (0, 7, 0.5)
    assert f"groq:{body['model']}" == model


def test_an_option_of_null_is_one_not_given(upstream: FaultServer, client: httpx.Client) -> None:
    upstream.script("groq", Reply())
    names = ("template", "variables", "system", "history", "temperature", "max_tokens", "top_p", "fallback")
    nothing: dict[str, Any] = dict.fromkeys(names)
    assert ask(client, "groq", **nothing).status_code == 200
    assert upstream.requests.last("groq").body.keys() == {"model", "messages", "stream", "stream_options"}


def test_without_a_model_groq_is_asked_and_a_fallback_says_so(upstream: FaultServer, client: httpx.Client) -> None:
    upstream.script("groq", Reply("From GROQ."))
    assert client.post("/chat", json={"prompt": "Hi."}).json()["provider"] == "groq"
    answer = ask(client, "gemini").json()  # which has no key here
    assert (answer["status"], answer["provider"], answer["requested_model"]) == ("fallback", "groq", "gemini")
    assert [attempt["outcome"] for attempt in answer["attempts"]] == ["skipped", "ok"]
    assert "GEMINI_API_KEY" in answer["attempts"][0]["message"]


def test_a_rating_overwrites(upstream: FaultServer, client: httpx.Client) -> None:
    upstream.script("groq", Reply())
    prompt_id = ask(client).json()["prompt_id"]
    for score in (1, 4):
        response = client.post("/rate", params={"prompt_id": prompt_id, "score": score})
        assert (response.status_code, response.json()) == (200, {"prompt_id": prompt_id, "rating": score})
    assert logged(client, prompt_id)["rating"] == 4


@pytest.mark.parametrize("score", ["0", "6", "-1", "2.5", "five", "", " 5", "٥"])
def test_a_score_out_of_range_is_refused(client: httpx.Client, score: str) -> None:
    response = client.post("/rate", params={"prompt_id": "any", "score": score})
    assert response.status_code == 422
    assert "1 to 5" in error_of(response)["message"]


def test_a_rating_of_nothing_is_not_found(client: httpx.Client) -> None:
    for prompt_id in ("no-such-id", "", "'; DROP TABLE interactions", "\0"):
        response = client.post("/rate", params={"prompt_id": prompt_id, "score": "5"})
        assert (response.status_code, error_of(response)["kind"]) == (404, "unknown_prompt")
    assert client.post("/rate").status_code == 422


def test_health_says_what_is_configured(client: httpx.Client) -> None:
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    providers = health.json()["providers"]
    assert (providers["groq"]["configured"], providers["gemini"]["configured"]) == (True, False)
    assert "GEMINI_API_KEY" in providers["gemini"]["problem"]


def test_models_can_be_listed(client: httpx.Client) -> None:
    models = client.get("/models").json()["models"]
    assert {"provider": "groq", "model": "openai/gpt-oss-20b", "label": "GROQ", "configured": True} in models
    assert {model["provider"] for model in models} == {"groq", "gemini", "demo"}


@pytest.mark.parametrize("path", ["/", "/chat", "/compare"])
def test_pages_are_served_on_the_same_port(client: httpx.Client, path: str) -> None:
    page = client.get(path)
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert "streamlit" in page.text.lower()


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault.status(429, retry_after="600"), 429, "rate_limited"),
        (Fault.hang(), 504, "timeout"),
        (Fault.bad_key(), 502, "authentication"),
        (Fault.status(404), 502, "model_not_found"),
        (Fault.cut(2), 502, "interrupted"),
        (Fault.status(400), 400, "bad_request"),
    ],
)
def test_a_provider_s_failure_has_its_status(
    upstream: FaultServer, client: httpx.Client, model: str, fault: Behaviour, status: int, kind: str
) -> None:
    upstream.script("groq", fault)
    response = ask(client, model)
    error = error_of(response)
    assert (response.status_code, error["kind"]) == (status, kind)
    assert error["attempts"][0]["kind"] == kind
    row = logged(client, error["prompt_id"])
    assert row["status"] == ("interrupted" if kind == "interrupted" else "error")
    assert row["error"] == error["message"]


def test_when_nobody_is_configured_the_error_says_what_to_set(client: httpx.Client) -> None:
    response = ask(client, "gemini", fallback=False)
    assert response.status_code == 502
    error = error_of(response)
    assert error["kind"] == "not_configured"
    assert "GEMINI_API_KEY" in error["message"]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b"\xff", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"prompt": "Hi."}', {"Content-Type": "text/plain"}, 400),
        (b"prompt=Hi.", {"Content-Type": "application/x-www-form-urlencoded"}, 400),
        (b'{"prompt": "Hi."}', {}, 400),
        (b"[]", JSON, 422),
        (b'"Hi."', JSON, 422),
        (b"{}", JSON, 422),
        (b'{"prompt": 5}', JSON, 422),
        (b'{"prompt": " "}', JSON, 422),
        (b'{"prompt": "Hi.", "promt": "Hi."}', JSON, 422),
        (b'{"prompt": "Hi.", "temperature": "warm"}', JSON, 422),
        (b'{"prompt": "Hi.", "temperature": true}', JSON, 422),
        (b'{"prompt": "Hi.", "temperature": NaN}', JSON, 422),
        (b'{"prompt": "Hi.", "temperature": 9}', JSON, 422),
        (b'{"prompt": "Hi.", "max_tokens": 0}', JSON, 422),
        (b'{"prompt": "Hi.", "top_p": 2}', JSON, 422),
        (b'{"prompt": "Hi.", "fallback": "no"}', JSON, 422),
        (b'{"prompt": "Hi.", "variables": []}', JSON, 422),
        (b'{"prompt": "Hi.", "history": [{"role": "robot", "content": "Hi."}]}', JSON, 422),
        (b'{"prompt": "Hi.", "history": ["Hi."]}', JSON, 422),
        (b'{"prompt": "' + b"x" * 1001 + b'"}', JSON, 413),
        (b'{"prompt": "Hi.", "system": "' + b"x" * 2_000_000 + b'"}', JSON, 413),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_and_never_sent(
    upstream: FaultServer, client: httpx.Client, content: bytes, headers: dict[str, str], status: int
) -> None:
    sent = len(upstream.requests)
    response = client.post("/chat", content=content, headers=headers)
    assert response.status_code == status
    assert error_of(response)["message"]
    assert len(upstream.requests) == sent


def test_unknown_names_are_refused_with_the_known_ones(upstream: FaultServer, client: httpx.Client) -> None:
    sent = len(upstream.requests)
    unknown = ask(client, template="freindly")
    assert unknown.status_code == 404
    assert "friendly" in error_of(unknown)["message"]
    unknown = ask(client, "openai")
    assert unknown.status_code == 422
    assert "groq, gemini, demo" in error_of(unknown)["message"]
    assert len(upstream.requests) == sent


def test_a_prompt_of_any_text_comes_through(upstream: FaultServer, client: httpx.Client) -> None:
    upstream.script("groq", Reply("Grüße 👋"))
    body = rb'{"prompt": "\ud800 \u0000 \ud83d\ude00"}'
    answer = client.post("/chat", content=body, headers=JSON).json()
    assert answer["response"] == "Grüße 👋"
    assert logged(client, answer["prompt_id"])["prompt"] == "\ufffd \ufffd 😀"
