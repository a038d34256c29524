"""Where requests go when no URL is set. respx stands in for the real hosts, which no test may reach."""

from __future__ import annotations

import httpx
import pytest
import respx

from router import Settings
from router.lifeline import Lifeline, Timeouts
from router.providers import build
from router.providers.http import HttpClient
from router.types import Message, Request

GROQ_STREAM = 'data: {"choices":[{"delta":{"content":"Hi."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
GEMINI_STREAM = 'data: {"candidates":[{"content":{"parts":[{"text":"Hi."}]},"finishReason":"STOP"}]}\n\n'


@pytest.mark.parametrize(
    ("provider", "url", "stream", "header"),
    [
        ("groq", "https://api.groq.com/openai/v1/chat/completions", GROQ_STREAM, ("authorization", "Bearer the-key")),
        (
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent?alt=sse",
            GEMINI_STREAM,
            ("x-goog-api-key", "the-key"),
        ),
    ],
)
def test_the_documented_address_is_asked_with_the_key_in_its_header(
    provider: str, url: str, stream: str, header: tuple[str, str]
) -> None:
    settings = Settings.from_env({"GROQ_API_KEY": "the-key", "GEMINI_API_KEY": "the-key", "GEMINI_BACKEND": "rest"})
    asked = build(settings, HttpClient())[provider]
    with respx.mock:
        route = respx.post(url).mock(
            return_value=httpx.Response(200, text=stream, headers={"content-type": "text/event-stream"})
        )
        request = Request(asked.default_model, (Message("user", "Hello?"),))
        deltas = list(asked.stream(request, Lifeline(Timeouts())))
    assert "".join(delta.text for delta in deltas) == "Hi."
    assert route.calls.last.request.headers[header[0]] == header[1]
