"""An answer that came whole stays whole, whatever is reported beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.types import Usage
from tests.faults.behaviours import Behaviour
from tests.faults.faults import Fault
from tests.providers.upstream import KEYS, Upstream

NOT_A_COUNT = [True, False, "5", 5.0, -5, 10**30, [5], {"n": 5}, float("inf")]
STOP = {"groq": "stop", "gemini": "STOP"}


def answer(upstream: Upstream, finish: object = None, usage: object = None, **beside: object) -> Behaviour:
    """`Hello.`, then its end: by default a good one."""
    finish = STOP[upstream.name] if finish is None else finish
    chunks: list[dict[str, Any]]
    if upstream.name == "groq":
        chunks = [
            {"choices": [{"delta": {"content": "Hello."}}]},
            {"choices": [{"delta": {}, "finish_reason": finish}], "usage": usage, **beside},
        ]
    else:
        content = {"parts": [{"text": "Hello."}]}
        chunks = [
            {"candidates": [{"content": content}]},
            {"candidates": [{"finishReason": finish}], "usageMetadata": usage, **beside},
        ]
    events = [json.dumps(chunk) for chunk in chunks] + ["[DONE]"] * (upstream.name == "groq")
    body = "".join(f"data: {event}\n\n" for event in events)
    return Fault.body(body.encode(), content_type="text/event-stream")


def counts(upstream: Upstream, prompt: object, completion: object) -> dict[str, object]:
    if upstream.name == "groq":
        return {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"promptTokenCount": prompt, "candidatesTokenCount": completion}


def test_what_is_reported_well_is_reported(upstream: Upstream) -> None:
    received = upstream.ask(answer(upstream, usage=counts(upstream, 3, 2)))
    assert (received.text, received.finish_reason, received.usage) == ("Hello.", "stop", Usage(3, 2, "provider"))


@pytest.mark.parametrize("usage", ["n/a", 5, 0.5, True, [], [1], {}, {"prompt_tokens": None}])
def test_usage_that_is_none_is_not_reported(upstream: Upstream, usage: object) -> None:
    received = upstream.ask(answer(upstream, usage=usage))
    assert (received.text, received.finish_reason, received.error) == ("Hello.", "stop", None)
    assert received.usage is None


@pytest.mark.parametrize("count", NOT_A_COUNT, ids=repr)
@pytest.mark.parametrize("place", [0, 1])
def test_a_count_that_is_none_is_not_reported(upstream: Upstream, count: object, place: int) -> None:
    pair = [2, 2]
    pair[place] = count  # type: ignore[call-overload]
    received = upstream.ask(answer(upstream, usage=counts(upstream, *pair)))
    assert (received.text, received.finish_reason, received.error) == ("Hello.", "stop", None)
    assert received.usage is None


@pytest.mark.parametrize("x_groq", ["req_01", 5, True, ["usage"], {"usage": "n/a"}, {"error": None}])
def test_what_groq_adds_may_be_anything(groq: Upstream, x_groq: object) -> None:
    received = groq.ask(answer(groq, x_groq=x_groq))
    assert (received.text, received.finish_reason, received.usage) == ("Hello.", "stop", None)


@pytest.mark.parametrize(
    "finish",
    [5, True, ["stop"], {"a": 1}, "x" * 201, "x" * 900_000, "\ud800", "a\nb", "a\0b"],
    ids=lambda f: repr(f)[:20],
)
def test_a_finish_reason_that_is_no_name_is_kept_back(upstream: Upstream, finish: object) -> None:
    received = upstream.ask(answer(upstream, finish))
    assert (received.text, received.finish_reason, received.error) == ("Hello.", None, None)


def test_a_finish_reason_that_quotes_the_key_is_kept_back(upstream: Upstream) -> None:
    received = upstream.ask(answer(upstream, f"because of {KEYS[upstream.name]}"))
    assert (received.text, received.finish_reason, received.error) == ("Hello.", None, None)


def test_a_finish_reason_of_its_own_is_handed_on(upstream: Upstream) -> None:
    assert upstream.ask(answer(upstream, "tool_calls")).finish_reason == "tool_calls"
