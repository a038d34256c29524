from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import tokens
from router.errors import ErrorKind, ProviderError
from router.lifeline import Cancelled, Lifeline, Timeouts
from router.providers import demo_arithmetic, demo_skills
from router.providers.demo import Demo
from router.providers.demo_texts import TOPICS, Topic
from router.types import Delta, Message, Request


@pytest.fixture
def demo() -> Demo:
    return Demo(words_per_second=1e9)


def request(prompt: str, model: str = "demo", **parameters: int) -> Request:
    return Request(model, (Message("user", prompt),), max_tokens=parameters.get("max_tokens"))


def run(demo: Demo, asked: Request) -> list[Delta]:
    return list(demo.stream(asked, Lifeline(Timeouts())))


def ask(*turns: str) -> str:
    roles = ("user", "assistant")
    return demo_skills.answer([Message(roles[n % 2], turn) for n, turn in enumerate(turns)])


# The stream


def test_words_then_one_delta_with_usage_and_finish_reason(demo: Demo) -> None:
    assert tokens.warm(timeout=30)
    asked = request("Explain gravity.")
    *words, last = run(demo, asked)
    text = "".join(delta.text for delta in words)
    assert text == ask("Explain gravity.")
    assert len(words) == len(text.split())
    assert all(delta.finish_reason is None and delta.usage is None for delta in words)
    assert (last.text, last.finish_reason) == ("", "stop")
    assert last.usage is not None
    assert last.usage.source == "tiktoken"
    assert last.usage.completion_tokens == tokens.count(text).tokens
    assert last.usage.prompt_tokens == tokens.count_messages(asked.messages).tokens


@pytest.mark.parametrize("limit", [1, 2, 10, 50])
def test_max_tokens_cuts_the_text(demo: Demo, limit: int) -> None:
    *words, last = run(demo, request("Explain gravity.", max_tokens=limit))
    text = "".join(delta.text for delta in words)
    assert ask("Explain gravity.").startswith(text)
    assert 0 < tokens.count(text).tokens <= limit
    assert last.finish_reason == "length"


def test_slow_gives_the_same_text(demo: Demo) -> None:
    assert run(demo, request("Explain DNS.", "slow"))[:-1] == run(demo, request("Explain DNS."))[:-1]


class WatchedLifeline(Lifeline):
    """Records what it is asked to wait, and does not wait."""

    def __init__(self) -> None:
        super().__init__(Timeouts())
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_the_pace_is_human_and_slow_is_slower() -> None:
    waits = {}
    for model in ("demo", "slow"):
        lifeline = WatchedLifeline()
        list(Demo().stream(request("Explain gravity.", model), lifeline))
        waits[model] = lifeline.waits
    assert waits["demo"][0] == pytest.approx(0.27, abs=0.01)
    assert waits["demo"][1] == pytest.approx(1 / 45)
    assert waits["slow"][0] == pytest.approx(1.5, abs=0.01)
    assert waits["slow"][1] == pytest.approx(1 / 8, abs=0.01)


def test_stop_ends_it_at_once() -> None:
    lifeline = Lifeline(Timeouts())
    threading.Timer(0.05, lifeline.cancel).start()
    with pytest.raises(Cancelled):
        list(Demo(words_per_second=0.01).stream(request("hi"), lifeline))  # the first word is due in 20 minutes


def test_a_deadline_ends_it_with_a_timeout() -> None:
    lifeline = Lifeline(Timeouts(total=0.05))
    with pytest.raises(ProviderError, match="TOTAL_TIMEOUT") as error:
        list(Demo(words_per_second=0.01).stream(request("hi"), lifeline))
    assert error.value.kind is ErrorKind.TIMEOUT


def test_flaky_fails_every_third_request_before_any_content(demo: Demo) -> None:
    for _ in range(2):
        assert len(run(demo, request("hi", "flaky"))) > 1
        assert len(run(demo, request("hi", "flaky"))) > 1
        with pytest.raises(ProviderError, match="on purpose") as error:
            next(demo.stream(request("hi", "flaky"), Lifeline(Timeouts())))
        assert (error.value.kind, error.value.status_code) == (ErrorKind.OVERLOADED, 503)


def test_flaky_counts_across_threads(demo: Demo) -> None:
    failures: list[ProviderError] = []

    def ask_three_times() -> None:
        for _ in range(3):
            try:
                run(demo, request("hi", "flaky"))
            except ProviderError as error:
                failures.append(error)

    threads = [threading.Thread(target=ask_three_times) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 4


def test_cut_breaks_off_after_a_third(demo: Demo) -> None:
    whole, seen = ask("Explain gravity."), []
    stream = demo.stream(request("Explain gravity.", "cut"), Lifeline(Timeouts()))
    with pytest.raises(ProviderError, match="on purpose") as error:
        seen.extend(iter(stream))
    assert error.value.kind is ErrorKind.CONNECTION
    assert all(delta.finish_reason is None for delta in seen)
    text = "".join(delta.text for delta in seen)
    assert whole.startswith(text)
    assert 0.2 < len(text) / len(whole) < 0.45


def test_cut_shows_something_even_of_one_word(demo: Demo) -> None:
    stream = demo.stream(request("Explain gravity.", "cut", max_tokens=1), Lifeline(Timeouts()))
    assert next(stream).text
    with pytest.raises(ProviderError):
        next(stream)


def test_an_unknown_model_names_the_four(demo: Demo) -> None:
    with pytest.raises(ProviderError, match="demo, slow, flaky, cut") as error:
        run(demo, request("hi", "gpt"))
    assert error.value.kind is ErrorKind.MODEL_NOT_FOUND


# The answers


@pytest.mark.parametrize(
    ("question", "result"),
    [
        ("what is 12*7?", "84"),
        ("What is 15% of 80?", "12"),
        ("2^10", "1,024"),
        ("How much is 1,000,000 times 3", "3,000,000"),
        ("0.1 + 0.2 =", "0.3"),
        ("what is 1/3?", "about 0.3333333333"),
        ("sqrt(144)", "12"),
        ("Please compute (3 + 4) × 2.", "14"),
        ("what is 2**-2", "0.25"),
        ("(-1)**999999999", "-1"),
        ("0**0", "1"),
    ],
)
def test_arithmetic(question: str, result: str) -> None:
    assert f"= **{result}**" in ask(question)


@pytest.mark.parametrize("question", ["9**9**9", "10/0", "0**-1", "(-8)**0.5", "2**2000*2**2000", "10**0.5**-99"])
def test_arithmetic_refuses_what_has_no_value_or_no_bound(question: str) -> None:
    assert ask(question).startswith("I cannot give a value")


@pytest.mark.parametrize("text", ["2026-10-05 is a date", "Python 3.11-3.13", "__import__('os')", "what is 5", "1 +"])
def test_what_is_no_sum_is_not_calculated(text: str) -> None:
    assert demo_arithmetic.answer(text) is None


@given(st.text(st.sampled_from("0123456789.+-*/%() "), max_size=40))
@settings(deadline=None)
def test_any_expression_ends(expression: str) -> None:
    demo_arithmetic.answer(expression)


def test_counts() -> None:
    table = ask('How many words are in "the quick  brown fox"?')
    assert "| words | 4 |" in table
    assert "| characters | 20 |" in table
    assert "| lines | 2 |" in ask("Count the lines:\n\none\ntwo")
    assert "occurs **3** times in *strawberry*" in ask("How many r's are in strawberry?")


STORY = (
    "Bees dance. A bee that finds flowers returns to the hive and dances for the other bees. "
    "The weather was pleasant. The dance tells the bees how far the flowers are, and in which direction. "
    "Someone coughed. Bees that watched the dance fly to the flowers."
)


@pytest.mark.parametrize(
    "wrap", ["Summarise this: {}", "TL;DR\n\n{}", 'Give a summary of "{}"', "Sum up:\n<text>\n{}\n</text>"]
)
def test_a_summary_quotes_the_sentences_that_matter(wrap: str) -> None:
    lines = re.findall(r"^- (.+)$", ask(wrap.format(STORY)), re.MULTILINE)
    assert len(lines) == 3
    assert all(line in STORY for line in lines)
    assert not any("weather" in line or "coughed" in line for line in lines)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.keywords[0])
def test_every_keyword_finds_its_explanation(topic: Topic) -> None:
    assert 60 <= len(topic.text.split()) <= 150
    for keyword in topic.keywords:
        assert ask(f"Explain {keyword}.") == topic.text
        assert ask(f"You are a terse assistant. Use short words and no lists.\n\nWhat is {keyword}?") == topic.text


def test_why_is_the_sky_blue() -> None:
    assert "Rayleigh" in ask("Why is the sky blue?")


@pytest.mark.parametrize("prompt", ["Write a poem about gravity.", "Who won the match?", "hello", "", "\ud800"])
def test_otherwise_it_says_what_it_is_and_what_to_set(prompt: str) -> None:
    reply = ask(prompt)
    for part in ("demo model", "not a language model", "GROQ_API_KEY", "GEMINI_API_KEY", ".env"):
        assert part in reply
    assert "\n" not in reply


def test_it_knows_what_was_asked_before() -> None:
    assert "“Explain gravity.”" in ask("Explain gravity.", "…", "What did I ask before?")
    assert "first message" in ask("What did I ask before?")
    assert "two" not in ask("one", "…", "two", "…", "What was my first question?")


def test_it_does_not_pretend_to_follow_up() -> None:
    reply = ask("Explain gravity.", "…", "Why?")
    assert "“Explain gravity.”" in reply
    assert "cannot think further" in reply
    assert "do not reason" in ask("Explain gravity.", "…", "Who won the match?")


def test_it_goes_on_where_it_was_cut() -> None:
    whole = ask("Explain gravity.")
    assert whole[:100] + ask("Explain gravity.", whole[:100], "Continue.") == whole
    assert "complete" in ask("Explain gravity.", whole, "Continue.")


@given(st.text(st.characters(exclude_categories=()), max_size=200))
@settings(deadline=None)
def test_any_prompt_is_answered_and_always_alike(prompt: str) -> None:
    assert ask(prompt)
    assert ask(prompt) == ask(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "<a>" * 66_000,
        "“" * 200_000,
        "summarise: a" + "." * 190_000,
        "how many a " * 18_000,
        "count words in " + "?" * 190_000,
    ],
    ids=["tags", "quotes", "dots", "letters", "question marks"],
)
def test_a_hostile_prompt_is_answered(prompt: str) -> None:
    assert ask(prompt)
