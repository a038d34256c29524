"""Who may call the HTTP routes, and the downloads."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pandas as pd
import pytest

from router.log.interaction import COLUMNS
from tests.faults.behaviours import Reply
from tests.faults.server import FaultServer
from tests.serving import GROQ_KEY, SIGNING, Server, serving

TOKEN = "a-token-of-ours-3141"
ROUTES = [("POST", "/chat"), ("POST", "/rate"), ("GET", "/models"), ("GET", "/health")]
ROUTES += [("GET", "/logs/prompts.csv"), ("GET", "/logs/prompts.json")]


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def open_server(upstream: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Without API_TOKEN."""
    with serving(upstream, tmp_path_factory.mktemp("open")) as server:
        yield server


@pytest.fixture(scope="module")
def closed_server(upstream: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With API_TOKEN."""
    with serving(upstream, tmp_path_factory.mktemp("closed"), script=SIGNING, API_TOKEN=TOKEN) as server:
        yield server


@pytest.fixture(params=["open", "closed"])
def caller(request: pytest.FixtureRequest) -> tuple[Server, dict[str, str]]:
    """Each server with the headers of somebody who may call it."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server, ({"Authorization": f"Bearer {TOKEN}"} if request.param == "closed" else {})


def call(server: Server, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    return server.client.request(method, path, headers=headers, json={"prompt": "Hi."} if path == "/chat" else None)


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://[", "evil"])
def test_a_page_of_another_site_is_refused(
    upstream: FaultServer, caller: tuple[Server, dict[str, str]], method: str, path: str, origin: str
) -> None:
    server, headers = caller
    sent = len(upstream.requests)
    response = call(server, method, path, {**headers, "Origin": origin})
    assert response.status_code == 403
    assert response.json()["error"]["message"]
    assert len(upstream.requests) == sent


def test_the_app_s_own_page_may_call(caller: tuple[Server, dict[str, str]]) -> None:
    server, headers = caller
    origin = str(server.client.base_url).rstrip("/")
    assert call(server, "GET", "/health", {**headers, "Origin": origin}).status_code == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.7:8000", "evil.example:x", "[", ""]
)
def test_without_a_token_another_host_name_is_refused(
    open_server: Server, upstream: FaultServer, method: str, path: str, host: str
) -> None:
    sent = len(upstream.requests)
    response = call(open_server, method, path, {"Host": host})
    assert (response.status_code, response.json()["error"]["kind"]) == (401, "unauthorized")
    assert len(upstream.requests) == sent


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000"])
def test_without_a_token_this_machine_may_call(open_server: Server, host: str) -> None:
    assert call(open_server, "GET", "/health", {"Host": host}).status_code == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer \xe9"},
        {"Cookie": f"token={TOKEN}"},
    ],
)
def test_with_a_token_set_nobody_calls_without_it(
    closed_server: Server, upstream: FaultServer, method: str, path: str, headers: dict[str, Any]
) -> None:
    sent = len(upstream.requests)
    response = call(closed_server, method, path, {name: text.encode("latin-1") for name, text in headers.items()})
    assert response.status_code == 401
    error = response.json()["error"]
    assert (error["kind"], error["attempts"]) == ("unauthorized", [])
    assert TOKEN not in response.text
    assert len(upstream.requests) == sent


def test_with_the_token_everything_works_from_anywhere(closed_server: Server, upstream: FaultServer) -> None:
    upstream.script("groq", Reply())
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "router.example"}
    statuses = {path: call(closed_server, method, path, headers).status_code for method, path in ROUTES}
    assert statuses == {**dict.fromkeys((path for _, path in ROUTES), 200), "/rate": 422}


@pytest.fixture(scope="module")
def links(closed_server: Server) -> list[str]:
    """Signed links to the CSV and JSON log, made by the server's process."""
    (line,) = [line for line in closed_server.output if line.startswith("SIGNED")]
    return list(json.loads(line.removeprefix("SIGNED")))


def test_a_signed_link_works_without_a_token(closed_server: Server, links: list[str]) -> None:
    for link in links:
        response = closed_server.client.get(link)
        assert response.status_code == 200
        assert response.headers["content-disposition"].startswith("attachment")


def test_a_tampered_link_does_not_work(closed_server: Server, links: list[str]) -> None:
    csv, as_json = links
    query, _, signature = csv.partition("?")[2].partition("&signature=")
    forged = [
        csv[:-1] + ("0" if csv[-1] != "0" else "1"),
        csv.replace("expires=", "expires=9"),
        csv + "0",
        csv + "&status=error",
        csv.replace("?", "?status=error&"),
        as_json.replace(".json", ".csv"),
        f"/health?{query}&signature={signature}",
        f"/logs/prompts.csv?{query}",
        f"/logs/prompts.csv?{query}&signature=",
        "/logs/prompts.csv?expires=99999999999&signature=é",
        "/logs/prompts.csv?expires=soon&signature=x",
        "/logs/prompts.csv?signature=x&signature=",
    ]
    assert [closed_server.client.get(link).status_code for link in forged] == [401] * len(forged)


def test_downloads_can_be_read_with_pandas(open_server: Server, upstream: FaultServer) -> None:
    client = open_server.client
    upstream.script("groq", Reply('=1+1, "quoted"\r\nand a second line, 中文 👋'), Reply("Plain."))
    first = client.post("/chat", json={"prompt": 'One,\n"two"'}).json()
    second = client.post("/chat", json={"prompt": "Three"}).json()
    client.post(f"/rate?prompt_id={second['prompt_id']}&score=4")
    csv, as_json = client.get("/logs/prompts.csv"), client.get("/logs/prompts.json")
    assert csv.headers["content-type"].startswith("text/csv")
    assert as_json.headers["content-type"] == "application/json"
    for response, name in ((csv, "prompts.csv"), (as_json, "prompts.json")):
        assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert response.headers["cache-control"] == "no-store"
    from_csv = pd.read_csv(io.BytesIO(csv.content)).set_index("prompt_id")
    from_json = pd.read_json(io.BytesIO(as_json.content)).set_index("prompt_id")
    for frame in (from_csv, from_json):
        assert set(COLUMNS) <= {"prompt_id", *frame.columns}
        assert frame.loc[first["prompt_id"], "prompt"] == 'One,\n"two"'
        assert frame.loc[second["prompt_id"], "rating"] == 4
        assert frame.loc[second["prompt_id"], "token_count"] == second["token_count"]
    assert from_json.loc[first["prompt_id"], "response"] == first["response"]
    assert from_csv.loc[first["prompt_id"], "response"].startswith("'=1+1")  # a formula is defused


@pytest.mark.parametrize("name", ["prompts.csv", "prompts.json"])
def test_a_download_is_compressed_for_who_accepts_it(open_server: Server, name: str) -> None:
    client = open_server.client
    client.post("/chat?model=demo", json={"prompt": "Hello?"}).raise_for_status()
    compressed = client.get(f"/logs/{name}", headers={"Accept-Encoding": "gzip, deflate, br"})
    as_it_is = client.get(f"/logs/{name}", headers={"Accept-Encoding": "identity"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in as_it_is.headers
    assert compressed.headers["vary"] == as_it_is.headers["vary"] == "Accept-Encoding"
    assert compressed.content == as_it_is.content != b""


def test_no_key_and_no_token_is_ever_printed(open_server: Server, closed_server: Server) -> None:
    for server in (open_server, closed_server):
        printed = "".join(server.output)
        assert "POST /chat" in printed
        assert GROQ_KEY not in printed
        assert TOKEN not in printed
