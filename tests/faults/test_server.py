"""The fault server does what it says; only then is a test that uses it worth something."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.faults import exchange
from tests.faults.behaviours import Behaviour, ModelList, Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer, refusing_url, unreachable_url

KEY = "gsk_secret"
MODEL = "/v1beta/models/gemini-3.5-flash-lite"
WIRES = ("groq", "gemini sse", "gemini array")


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5, trust_env=False) as client:
        yield client


def request(client: httpx.Client, server: FaultServer, wire: str) -> httpx.Request:
    """A streaming request, as a client of this wire sends it."""
    if wire == "groq":
        body = {"model": "openai/gpt-oss-20b", "stream": True}
        return client.build_request("POST", server.groq_url, json=body, headers={"Authorization": f"Bearer {KEY}"})
    query = {"alt": "sse"} if wire == "gemini sse" else {"$alt": "json;enum-encoding=int"}
    url = f"{server.gemini_url}{MODEL}:streamGenerateContent"
    return client.build_request("POST", url, params=query, json={}, headers={"x-goog-api-key": KEY})


def send(client: httpx.Client, server: FaultServer, wire: str) -> httpx.Response:
    return client.send(request(client, server, wire))


def payloads(wire: str, response: httpx.Response) -> list[Any]:
    if wire == "gemini array":
        return list(response.json())
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def said(wire: str, response: httpx.Response) -> str:
    """The answer's text, reasoning left out."""
    text = ""
    for payload in payloads(wire, response):
        for choice in payload.get("choices", ()):
            text += choice["delta"].get("content") or ""
        for candidate in payload.get("candidates", ()):
            text += "".join(part["text"] for part in candidate["content"]["parts"] if not part.get("thought"))
    return text


def script(server: FaultServer, *behaviours: Behaviour) -> None:
    server.script("groq", *behaviours)
    server.script("gemini", *behaviours)


@pytest.mark.parametrize("wire", WIRES)
def test_a_reply_arrives_whole_on_every_wire(faults: FaultServer, client: httpx.Client, wire: str) -> None:
    script(faults, Reply("Grüße, my friend.\n", reasoning="Hm.", comments=True, null_first=True, split=1))
    response = send(client, faults, wire)
    assert response.status_code == 200
    assert said(wire, response) == "Grüße, my friend.\n"
    assert "Hm." in response.text


def test_groq_streams_as_groq_does(faults: FaultServer, client: httpx.Client) -> None:
    faults.script("groq", Reply(("Hi",)), Reply(usage_in="choices"), Reply(usage=None, finish=None, done=False))
    response = send(client, faults, "groq")
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.endswith("data: [DONE]\n\n")
    first, hi, last = payloads("groq", response)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert hi["choices"][0] == {"index": 0, "delta": {"content": "Hi"}, "logprobs": None, "finish_reason": None}
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["x_groq"]["usage"]["completion_tokens"] == 7
    last = payloads("groq", send(client, faults, "groq"))[-1]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 18)
    response = send(client, faults, "groq")
    assert '"usage"' not in response.text
    assert '"finish_reason": "' not in response.text
    assert "[DONE]" not in response.text


def test_gemini_streams_events_as_gemini_does(faults: FaultServer, client: httpx.Client) -> None:
    faults.script("gemini", Reply(("Hi",), reasoning="Hm.", finish="length"))
    response = send(client, faults, "gemini sse")
    assert "\r\n\r\n" in response.text
    thought, _, last = payloads("gemini sse", response)
    assert thought["candidates"][0]["content"]["parts"] == [{"text": "Hm.", "thought": True}]
    assert last["candidates"][0]["finishReason"] == "MAX_TOKENS"
    # Thoughts are part of the 7 tokens that were billed.
    usage = {"promptTokenCount": 11, "totalTokenCount": 18, "thoughtsTokenCount": 3, "candidatesTokenCount": 4}
    assert last["usageMetadata"] == usage


def test_a_request_that_does_not_stream_gets_one_document(faults: FaultServer, client: httpx.Client) -> None:
    groq = client.post(faults.groq_url, json={"model": "m"}).json()
    assert groq["choices"][0]["message"] == {"role": "assistant", "content": "Hello there."}
    gemini = client.post(f"{faults.gemini_url}{MODEL}:generateContent", json={}).json()
    assert gemini["candidates"][0]["content"]["parts"] == [{"text": "Hello there."}]


@pytest.mark.filterwarnings("ignore")
def test_the_array_is_what_google_s_own_client_expects(faults: FaultServer) -> None:
    from google.ai import generativelanguage_v1beta as glm
    from google.api_core.client_options import ClientOptions

    options = ClientOptions(api_key=KEY, api_endpoint=faults.gemini_url)
    google = glm.GenerativeServiceClient(transport="rest", client_options=options)
    asked = glm.GenerateContentRequest(model="models/m", contents=[{"role": "user", "parts": [{"text": "Hi"}]}])
    faults.script("gemini", Reply("Grüße, my {friend}.", comments=True), Fault.blocked())
    *parts, last = list(google.stream_generate_content(asked, timeout=5, retry=None))
    assert "".join(part.candidates[0].content.parts[0].text for part in parts) == "Grüße, my {friend}."
    assert last.candidates[0].finish_reason == glm.Candidate.FinishReason.STOP
    assert faults.requests.last("gemini").query == {"$alt": "json;enum-encoding=int"}
    assert faults.requests.last("gemini").key == KEY
    (blocked,) = google.stream_generate_content(asked, timeout=5, retry=None)
    assert blocked.prompt_feedback.block_reason == glm.GenerateContentResponse.PromptFeedback.BlockReason.SAFETY
    assert google.generate_content(asked, timeout=5, retry=None).prompt_feedback.block_reason
    google.transport.close()  # type: ignore[no-untyped-call]


def test_models_are_listed(faults: FaultServer, client: httpx.Client) -> None:
    faults.script("gemini/models", Fault.status(503), ModelList(("a", "b")))
    groq = client.get(f"{faults.url}/openai/v1/models").json()
    assert "openai/gpt-oss-20b" in [model["id"] for model in groq["data"]]
    assert client.get(f"{faults.url}/v1beta/models").status_code == 503
    assert [m["name"] for m in client.get(f"{faults.url}/v1beta/models").json()["models"]] == ["models/a", "models/b"]
    assert faults.requests.count("gemini/models") == 2


def test_a_script_is_played_in_order_and_its_last_line_repeats(faults: FaultServer, client: httpx.Client) -> None:
    faults.script("groq", Fault.status(500), Reply("one"), Reply("two"))
    faults.script("groq:openai/gpt-oss-120b", Fault.status(404))
    responses = [send(client, faults, "groq") for _ in range(4)]
    assert [said("groq", response) for response in responses] == ["", "one", "two", "two"]
    assert client.post(faults.groq_url, json={"model": "openai/gpt-oss-120b"}).status_code == 404
    assert faults.requests.count("groq") == 5


def test_requests_are_recorded_and_connections_kept_alive(faults: FaultServer, client: httpx.Client) -> None:
    for wire in WIRES:
        send(client, faults, wire)
    assert [request.provider for request in faults.requests] == ["groq", "gemini", "gemini"]
    assert faults.requests.last("groq").body == {"model": "openai/gpt-oss-20b", "stream": True}
    assert faults.requests.last("gemini").model == "gemini-3.5-flash-lite"
    assert {request.key for request in faults.requests} == {KEY}
    assert (faults.connections, faults.open_connections) == (1, 1)
    client.close()
    faults.wait_until(lambda: faults.open_connections == 0)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 418, 422, 429, 498, 500, 502, 503, 504])
def test_statuses_come_with_the_provider_s_kind_of_body(
    faults: FaultServer, client: httpx.Client, wire: str, status: int
) -> None:
    script(faults, Fault.status(status))
    response = send(client, faults, wire)
    assert response.status_code == status
    if status == 502:
        assert response.text.startswith("<html>")
    elif wire == "groq":
        assert {"message", "type"} <= response.json()["error"].keys()
    else:
        body = response.json()[0] if wire == "gemini array" else response.json()
        assert body["error"]["code"] == status


def test_a_rate_limit_says_when_to_come_back(faults: FaultServer, client: httpx.Client) -> None:
    script(faults, Fault.status(429, retry_after="47", headers={"x-ratelimit-reset-requests": "6m0s"}))
    groq = send(client, faults, "groq")
    assert groq.headers["retry-after"] == "47"
    assert groq.headers["x-ratelimit-reset-requests"] == "6m0s"
    gemini = send(client, faults, "gemini sse")
    assert "retry-after" not in gemini.headers
    assert gemini.json()["error"]["details"][-1]["retryDelay"] == "47s"


def test_named_refusals_differ_by_provider(faults: FaultServer, client: httpx.Client) -> None:
    script(faults, Fault.bad_key(), Fault.context_too_long(), Fault.blocked())
    assert send(client, faults, "groq").status_code == 401
    gemini = send(client, faults, "gemini sse")
    assert (gemini.status_code, gemini.json()["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")
    assert send(client, faults, "groq").json()["error"]["code"] == "context_length_exceeded"
    assert "maximum number of tokens" in send(client, faults, "gemini sse").json()["error"]["message"]
    (blocked,) = payloads("groq", send(client, faults, "groq"))
    assert blocked["choices"][0]["finish_reason"] == "content_filter"
    (blocked,) = payloads("gemini sse", send(client, faults, "gemini sse"))
    assert blocked["promptFeedback"] == {"blockReason": "SAFETY"}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "fault",
    [
        Fault.bad_key("No: {key}"),
        Fault.status(429, message="{key}"),
        Fault.error_event(500, message="{key}"),
        Fault.malformed_json(text="{key}"),
        Fault.body(b"<p>{key}</p>"),
        Fault.redirect("/?key={key}"),
    ],
)
def test_the_key_is_echoed_where_it_is_asked_for(
    faults: FaultServer, client: httpx.Client, wire: str, fault: Behaviour
) -> None:
    script(faults, fault)
    response = send(client, faults, wire)
    assert KEY in response.text + response.headers.get("location", "")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("after", [0, 2])
def test_errors_come_inside_a_stream(faults: FaultServer, client: httpx.Client, wire: str, after: int) -> None:
    script(faults, Fault.error_event(503, after=after))
    response = send(client, faults, wire)
    assert response.status_code == 200
    assert said(wire, response) == "one two "[: 4 * after]
    assert "error" in payloads(wire, response)[-1]


def test_groq_also_reports_errors_in_x_groq(faults: FaultServer, client: httpx.Client) -> None:
    faults.script("groq", Fault.error_event(500, where="x_groq"))
    (payload,) = payloads("groq", send(client, faults, "groq"))
    assert payload["x_groq"]["error"] == "Internal Server Error"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("after", [None, 0, 2])
def test_connections_are_cut(faults: FaultServer, client: httpx.Client, wire: str, how: Any, after: int | None) -> None:
    script(faults, Fault.cut(after, how))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        send(client, faults, wire)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "fault",
    [
        Fault.hang(None),
        Fault.hang(0),
        Fault.hang(2),
        Fault.hang(0, status=503),
        Fault.endless_headers(interval=0),
        Fault.trickle("bytes", interval=0.001),
        Fault.trickle("comments", interval=0.001),
        Fault.trickle("reasoning", interval=0.001),
        Fault.trickle("content", interval=0.001, after=1),
        Fault.flood("line"),
        Fault.flood("comments"),
        Fault.flood("content", after=1),
        Reply("slow " * 100, delay=10),
        Reply(first_delay=10),
    ],
)
def test_what_lasts_for_ever_ends_when_the_client_leaves(
    faults: FaultServer, client: httpx.Client, wire: str, fault: Behaviour
) -> None:
    script(faults, fault)
    asked = request(client, faults, wire)
    head = [f"POST {asked.url.raw_path.decode()} HTTP/1.1", f"Content-Length: {len(asked.content)}", "", ""]
    provider = wire.partition(" ")[0]
    with socket.create_connection((asked.url.host, asked.url.port or 80)) as sock:
        sock.sendall("\r\n".join(head).encode() + asked.content)
        faults.wait_for("request", provider)
    faults.wait_for("disconnected", provider)
    faults.wait_until(lambda: faults.open_connections == 0)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("after", [None, 0, 2])
def test_a_hang_is_silent_from_the_moment_it_says(
    faults: FaultServer, client: httpx.Client, wire: str, after: int | None
) -> None:
    script(faults, Fault.hang(after))
    client.timeout = httpx.Timeout(0.3)
    received = bytearray()

    def read() -> None:
        with closing(client.send(request(client, faults, wire), stream=True)) as response:
            for chunk in response.iter_raw():
                received.extend(chunk)

    with pytest.raises(httpx.ReadTimeout):
        read()
    assert (b"two" in received, b"three" in received) == (after == 2, False)
    faults.wait_for("disconnected", wire.partition(" ")[0])


@pytest.mark.parametrize("wire", WIRES)
def test_an_exchange_without_end_is_given_up(
    faults: FaultServer, client: httpx.Client, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LONGEST_WAIT", 0.1)
    script(faults, Fault.trickle(interval=0.01), Fault.flood(), Fault.hang())
    for times in (1, 2, 3):
        with pytest.raises(httpx.TransportError):
            send(client, faults, wire)
        faults.wait_for("gave up", wire.partition(" ")[0], times=times)


@pytest.mark.parametrize("wire", WIRES)
def test_odd_answers_arrive_as_they_are(faults: FaultServer, client: httpx.Client, wire: str) -> None:
    oddities = (
        Fault.body(b"<html>Log in</html>"),
        Fault.redirect(),
        Fault.cut(2, "clean"),
        Reply(as_json=True),
        Reply(""),
    )
    script(faults, *oddities, Fault.malformed_json(), Fault.malformed_stream(), Fault.not_http())
    assert send(client, faults, wire).headers["content-type"] == "text/html"
    asked = request(client, faults, wire)
    redirect = client.send(asked)
    assert (redirect.status_code, redirect.headers["location"]) == (302, asked.url.raw_path.decode())
    half = send(client, faults, wire)
    assert "two" in half.text
    assert '"stop"' not in half.text
    document = send(client, faults, wire)
    assert document.headers["content-type"].startswith("application/json")
    assert "Hello there." in json.dumps(document.json())
    assert said(wire, send(client, faults, wire)) == ""
    malformed = send(client, faults, wire)
    with pytest.raises(ValueError):
        payloads(wire, malformed)
    assert "dat a: " in send(client, faults, wire).text
    with pytest.raises(httpx.RemoteProtocolError):
        send(client, faults, wire)


def test_an_address_refuses_and_another_never_answers(client: httpx.Client) -> None:
    client.timeout = httpx.Timeout(0.2)
    with refusing_url() as url, pytest.raises(httpx.ConnectError):
        client.get(url)
    with unreachable_url() as url, pytest.raises(httpx.ConnectTimeout):
        client.get(url)


def test_all_threads_end_with_the_server() -> None:
    before = threading.active_count()
    with FaultServer() as server, httpx.Client(trust_env=False, timeout=5) as client:
        script(server, Fault.hang(0))
        asked = [client.send(request(client, server, wire), stream=True) for wire in WIRES for _ in range(5)]
        assert threading.active_count() == before + 1 + len(asked)
    assert threading.active_count() == before


def test_waiting_for_what_does_not_happen_says_so(faults: FaultServer) -> None:
    with pytest.raises(AssertionError, match="'request' of groq"):
        faults.wait_for("request", "groq", within=0.01)
    with pytest.raises(ValueError, match="Cannot script 'grok'"):
        faults.script("grok", Reply())
