"""What every provider owes the engine when all goes well. One suite for all of them."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from router import providers as registry
from router.errors import ErrorKind
from router.lifeline import Lifeline
from router.providers.http import HttpClient
from router.settings import Settings
from router.types import Message, Usage
from tests.faults.behaviours import Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.providers.upstream import KEYS, PATIENT, Upstream

HISTORY = (Message("user", "Who are you?"), Message("assistant", "A model."), Message("user", "Which one?"))


def test_pieces_come_as_they_were_sent(upstream: Upstream) -> None:
    pieces = ["Grav", "ity ", "pulls.\n\n", "  ", "Grüße 👋 {}"]
    received = upstream.ask(Reply(pieces))
    assert received.pieces == pieces
    assert received.error is None


def test_a_piece_is_handed_on_before_the_next_one_is_sent(upstream: Upstream) -> None:
    upstream.script(Fault.hang(2))
    stream = upstream.provider.stream(upstream.request(), Lifeline(PATIENT))
    with closing(stream):
        texts = (delta.text for delta in stream if delta.text)
        assert [next(texts), next(texts)] == ["one ", "two "]


def test_the_split_into_packets_changes_nothing(upstream: Upstream) -> None:
    text = 'Grüße 👋, she said: "{\\n}" and left.'
    received = upstream.ask(Reply(text, split=1, comments=True, null_first=True))
    assert (received.text, received.finish_reason) == (text, "stop")


@pytest.mark.parametrize("usage_in", ["x_groq", "choices"])
def test_usage_is_read_from_wherever_it_is_reported(upstream: Upstream, usage_in: Any) -> None:
    assert upstream.ask(Reply(usage=(21, 34), usage_in=usage_in)).usage == Usage(21, 34, "provider")


def test_thinking_is_counted_as_output_and_never_shown(upstream: Upstream) -> None:
    received = upstream.ask(Reply("The answer.", reasoning="Let me think.", usage=(21, 34)))
    assert received.text == "The answer."
    assert received.usage == Usage(21, 34, "provider")


def test_usage_that_nobody_reports_is_not_made_up(upstream: Upstream) -> None:
    received = upstream.ask(Reply(usage=None))
    assert (received.usage, received.finish_reason) == (None, "stop")


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_finish_reasons_have_one_name_everywhere(upstream: Upstream, reason: Any) -> None:
    assert upstream.ask(Reply(finish=reason)).finish_reason == reason


def test_system_history_and_parameters_reach_the_provider(upstream: Upstream) -> None:
    upstream.ask(messages=HISTORY, system="Be brief.", temperature=0.25, max_tokens=50, top_p=0.5)
    body = upstream.server.requests.last(upstream.name).body
    if upstream.name == "groq":
        assert body["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Who are you?"},
            {"role": "assistant", "content": "A model."},
            {"role": "user", "content": "Which one?"},
        ]
        assert (body["temperature"], body["max_completion_tokens"], body["top_p"]) == (0.25, 50, 0.5)
    else:
        turns = [(turn["role"], turn["parts"][0]["text"]) for turn in body["contents"]]
        assert turns == [("user", "Who are you?"), ("model", "A model."), ("user", "Which one?")]
        assert body["systemInstruction"]["parts"][0]["text"] == "Be brief."
        assert body["generationConfig"] == {"temperature": 0.25, "maxOutputTokens": 50, "topP": 0.5}


def test_a_parameter_of_zero_is_sent(upstream: Upstream) -> None:
    upstream.ask(temperature=0, top_p=0.0)
    body = upstream.server.requests.last(upstream.name).body
    parameters = body if upstream.name == "groq" else body["generationConfig"]
    assert parameters["temperature"] == 0
    assert (parameters.get("top_p"), parameters.get("topP")).count(0) == 1


def test_what_is_not_set_is_not_sent(upstream: Upstream) -> None:
    upstream.ask()
    body = upstream.server.requests.last(upstream.name).body
    if upstream.name == "groq":
        assert body.keys() == {"model", "messages", "stream", "stream_options"}
    else:
        # The generated client names the model in the body as well.
        assert body.keys() - {"model"} == {"contents"}


def test_the_model_is_the_one_asked_for(upstream: Upstream) -> None:
    upstream.ask(model="some-model-1.5")
    assert upstream.server.requests.last(upstream.name).model == "some-model-1.5"
    upstream.ask()
    assert upstream.server.requests.last(upstream.name).model == upstream.provider.default_model


def test_the_key_travels_in_its_header_and_nowhere_else(upstream: Upstream) -> None:
    upstream.ask()
    key, sent = KEYS[upstream.name], upstream.server.requests.last(upstream.name)
    expected = {"groq": ("authorization", f"Bearer {key}"), "gemini": ("x-goog-api-key", key)}[upstream.name]
    assert [(name, value) for name, value in sent.headers.items() if key in value] == [expected]
    assert key not in sent.target
    assert key not in json.dumps(sent.body)


def test_a_prompt_of_every_kind_of_text_arrives_as_it_is(upstream: Upstream) -> None:
    prompt = 'Tabs\t, "quotes", \\backslashes\\, {braces}, 中文, 👩‍🚀, \u2028 and \x07.'
    upstream.ask(messages=(Message("user", prompt),))
    body = upstream.server.requests.last(upstream.name).body
    sent = body["messages"][0]["content"] if upstream.name == "groq" else body["contents"][0]["parts"][0]["text"]
    assert sent == prompt


def test_one_connection_serves_one_request_after_another(upstream: Upstream) -> None:
    for behaviour in (Reply(), Fault.status(429), Fault.status(502), Reply("Hi. " * 500), Reply()):
        upstream.ask(behaviour)
    assert upstream.server.requests.count(upstream.name) == 5
    assert upstream.server.connections == 1


def test_closing_the_iterator_ends_the_request(upstream: Upstream) -> None:
    upstream.script(Fault.hang(1))
    stream = upstream.provider.stream(upstream.request(), Lifeline(PATIENT))
    assert any(delta.text for delta in stream)
    stream.close()
    upstream.server.wait_for("disconnected", upstream.name)
    upstream.server.wait_until(lambda: upstream.server.open_connections == 0)


def test_a_server_that_stays_after_done_delays_nothing(groq: Upstream) -> None:
    received = groq.ask(Fault.hang(3, reply=Reply("one two")))
    assert (received.text, received.finish_reason, received.usage) == ("one two", "stop", Usage(11, 7, "provider"))
    assert received.seconds < PATIENT.idle / 2
    groq.server.wait_for("disconnected", "groq")
    assert groq.ask(Reply("And again.")).text == "And again."


@pytest.mark.parametrize("text", ["The whole answer.", "中文 \\ {} ✓"])
def test_an_endpoint_that_does_not_stream_is_read_all_the_same(groq: Upstream, text: str) -> None:
    received = groq.ask(Reply(text, as_json=True, reasoning="Hm."))
    assert (received.text, received.finish_reason, received.usage) == (text, "stop", Usage(11, 7, "provider"))


def test_done_stands_for_a_finish_reason_where_there_was_text(groq: Upstream) -> None:
    assert groq.ask(Reply("Hi.", finish=None)).finish_reason == "stop"
    assert groq.ask(Reply("", finish=None)).kind is ErrorKind.INTERRUPTED


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_events_may_be_written_in_every_way_that_the_standard_allows(groq: Upstream, line_break: str) -> None:
    lines = [
        *("\ufeff: hello", "event: message", "id: 1"),
        'data: {"choices": [{"delta": {"content": null, "reasoning": "Hm."}}]}',
        *("", "retry: 5", 'data:{"choices": [{"delta":', 'data:  {"content": "Hi."}}]}', "", ":"),
        'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}',
        *(
            "",
            'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}',
            "",
            "data: [DONE]",
            "",
            "",
        ),
    ]
    received = groq.ask(Fault.body(line_break.join(lines).encode(), content_type="text/event-stream; charset=utf-8"))
    assert (received.text, received.finish_reason, received.usage) == ("Hi.", "stop", Usage(3, 2, "provider"))


@pytest.mark.parametrize("backend", ["sdk", "rest"])
def test_a_provider_without_a_key_says_which_variable_to_set(backend: str) -> None:
    providers = registry.build(Settings(gemini_backend=backend), HttpClient())
    assert list(providers) == ["groq", "gemini", "demo"]
    for name, setting in (("groq", "GROQ_API_KEY"), ("gemini", "GEMINI_API_KEY")):
        problem = providers[name].problem()
        assert problem is not None
        assert problem.setting == setting
        assert setting in str(problem)
    assert providers["demo"].problem() is None


def test_a_provider_with_a_key_has_no_problem(upstream: Upstream) -> None:
    assert upstream.provider.problem() is None
    assert KEYS[upstream.name] not in repr(upstream.provider)


def test_the_demo_keeps_the_same_contract(faults: FaultServer) -> None:
    demo = Upstream("demo", faults)
    whole = demo.ask(messages=(Message("user", "What is 6 * 7?"),))
    assert "42" in whole.text
    assert (whole.finish_reason, whole.error) == ("stop", None)
    assert whole.usage is not None
    short = demo.ask(messages=(Message("user", "Explain gravity."),), max_tokens=3)
    assert (short.finish_reason, short.usage and short.usage.completion_tokens) == ("length", 3)
    assert demo.ask(model="no-such-model").kind is ErrorKind.MODEL_NOT_FOUND
    cut = demo.ask(model="cut", messages=(Message("user", "What is 6 * 7?"),))
    assert (bool(cut.text), cut.finish_reason, cut.kind) == (True, None, ErrorKind.CONNECTION)
    assert len(faults.requests) == 0


def test_a_cancelled_lifeline_sends_nothing(upstream: Upstream) -> None:
    lifeline = Lifeline(PATIENT)
    lifeline.cancel()
    assert upstream.ask(lifeline=lifeline).cancelled
    assert len(upstream.server.requests) == 0
