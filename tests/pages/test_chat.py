from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from router import shared_router
from tests.faults.behaviours import ModelList, Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.log.support import wait_until
from tests.pages.conftest import OpenApp


def ask(app: AppTest, prompt: str) -> AppTest:
    app.chat_input[0].set_value(prompt).run()
    assert not app.exception
    return app


def shown(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.text, *app.error])


def test_without_a_key_the_demo_is_preselected_and_the_page_names_both_variables(open_app: OpenApp) -> None:
    app = open_app()
    assert app.selectbox(key="model").value == "demo:demo"
    assert "GROQ_API_KEY" in shown(app)
    assert "GEMINI_API_KEY" in shown(app)


def test_with_a_key_its_default_model_is_preselected_and_nothing_speaks_of_a_demo(
    open_app: OpenApp, with_keys: FaultServer
) -> None:
    app = open_app()
    assert app.selectbox(key="model").value == "groq:openai/gpt-oss-20b"
    assert "Demo answers" not in shown(app)


def test_an_answer_shows_its_text_and_its_figures(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq", Reply("Things fall.", usage=(11, 7)))
    page = shown(ask(open_app(), "Explain gravity."))
    assert "Explain gravity." in page
    assert "Things fall." in page
    assert "openai/gpt-oss-20b" in page
    assert "18 tokens (reported)" in page
    assert "first token" in page


def test_history_goes_to_the_provider(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq", Reply("One."), Reply("Two."))
    ask(ask(open_app(), "First?"), "Second?")
    body = with_keys.requests.last("groq").body
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == [
        ("user", "First?"),
        ("assistant", "One."),
        ("user", "Second?"),
    ]


def test_what_the_sidebar_says_is_what_is_sent(open_app: OpenApp, with_keys: FaultServer) -> None:
    app = open_app()
    app.selectbox(key="template").set_value("friendly").run()
    app.text_area(key="system").set_value("Be brief.").run()
    app.number_input(key="temperature").set_value(0.3).run()
    app.number_input(key="max_tokens").set_value(64).run()
    ask(app, "Explain {gravity}.")
    body = with_keys.requests.last("groq").body
    assert body["temperature"] == 0.3
    assert body["max_completion_tokens"] == 64
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    template = shared_router().templates.get("friendly")
    assert body["messages"][-1]["content"] == template.render("Explain {gravity}.")


def test_the_sidebar_is_kept_from_page_to_page(open_app: OpenApp) -> None:
    app = open_app()
    app.text_area(key="system").set_value("Be brief.").run()
    app.number_input(key="temperature").set_value(0.3).run()
    app.switch_page("templates.py").run()
    app.switch_page("chat.py").run()
    assert app.text_area(key="system").value == "Be brief."
    assert app.number_input(key="temperature").value == 0.3


@pytest.mark.usefixtures("with_keys")
def test_a_retired_model_is_named_where_it_is_picked(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_MODEL", "llama-3.1-8b-instant")
    assert "was retired on 2026-08-16; use openai/gpt-oss-20b instead" in shown(open_app())


def test_a_fallback_is_badged_with_its_reason(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq", Fault.status(429, retry_after="30"))
    with_keys.script("gemini", Reply("From Gemini."))
    page = shown(ask(open_app(), "Hello?"))
    assert "From Gemini." in page
    assert "Served by Gemini: GROQ was rate limited" in page


def test_when_nobody_answers_the_page_says_why_and_offers_to_ask_again(
    open_app: OpenApp, with_keys: FaultServer
) -> None:
    with_keys.script("groq", Fault.bad_key())
    with_keys.script("gemini", Fault.bad_key(), Fault.bad_key(), Reply("Better now."))
    app = ask(open_app(), "Hello?")
    assert "GROQ_API_KEY" in app.error[0].value
    assert "GEMINI_API_KEY" in app.error[0].value
    app.run()
    again = next(button for button in app.button if button.label == "Ask again")
    with_keys.script("groq", Reply("Better now."))
    again.click().run()
    assert "Better now." in shown(app)


def test_an_answer_that_breaks_off_is_kept_and_badged(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq", Fault.cut(2, "rst"))
    page = shown(ask(open_app(), "Hello?"))
    assert "one two" in page
    assert "Interrupted: GROQ broke off" in page


def test_a_rating_is_saved_as_the_slider_moves_and_can_be_withdrawn(open_app: OpenApp, with_keys: FaultServer) -> None:
    app = ask(open_app(), "Hello?")
    slider = app.select_slider[0]
    assert slider.value == "Not rated"
    prompt_id = slider.key.removeprefix("rating-")
    slider.set_value(4).run()
    assert shared_router().log.get(prompt_id).rating == 4
    app.select_slider[0].set_value("Not rated").run()
    assert shared_router().log.get(prompt_id).rating is None


def test_a_conversation_comes_back_from_its_address(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq", Reply("One."), Reply("Two."))
    app = open_app()
    app.selectbox(key="template").set_value("friendly").run()
    ask(app, "First?")
    app.select_slider[0].set_value(5).run()
    conversation = app.query_params["c"]

    fresh = AppTest.from_file(app._script_path, default_timeout=30)
    fresh.query_params["c"] = conversation
    fresh.run()
    assert "One." in shown(fresh)
    assert fresh.select_slider[0].value == 5
    ask(fresh, "Second?")
    sent = with_keys.requests.last("groq").body["messages"]
    assert sent[0]["content"] == shared_router().templates.get("friendly").render("First?")
    assert sent[1]["content"] == "One."


def test_an_unknown_address_begins_a_new_conversation_and_says_so(open_app: OpenApp) -> None:
    open_app()
    app = AppTest.from_file(str(open_app()._script_path), default_timeout=30)
    app.query_params["c"] = "no-such-id"
    app.run()
    assert "no conversation" in app.info[0].value


def test_a_new_conversation_forgets_the_old_one(open_app: OpenApp, with_keys: FaultServer) -> None:
    app = ask(open_app(), "First?")
    next(button for button in app.button if button.label == "New conversation").click().run()
    assert "First?" not in shown(app)
    ask(app, "Second?")
    assert len(with_keys.requests.last("groq").body["messages"]) == 1


def test_a_prompt_that_is_too_long_is_not_sent_and_not_lost(
    open_app: OpenApp, with_keys: FaultServer, monkeypatch
) -> None:
    monkeypatch.setenv("MAX_PROMPT_CHARS", "10")
    app = ask(open_app(), "A prompt of more than ten characters.")
    assert "MAX_PROMPT_CHARS" in app.error[0].value
    assert app.code[0].value == "A prompt of more than ten characters."
    assert with_keys.requests.count("groq") == 0


def test_a_setting_that_cannot_be_used_is_named(open_app: OpenApp, monkeypatch) -> None:
    monkeypatch.setenv("IDLE_TIMEOUT", "soon")
    app = open_app()
    assert not app.exception
    assert "IDLE_TIMEOUT" in app.error[0].value


def test_a_broken_templates_file_leaves_the_chat_usable(open_app: OpenApp, with_keys: FaultServer, tmp_path) -> None:
    (tmp_path / "prompt_templates.json").write_text('{"friendly": ')
    app = open_app()
    assert "line 1" in app.warning[0].value
    assert "Hello there." in shown(ask(app, "Hello?"))


def test_model_output_cannot_fetch_an_image_or_run_a_directive(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq", Reply(["![x](http://evil.example/a.png) :red[hi] $5 and $6"]))
    page = shown(ask(open_app(), "Hello?"))
    assert "![x]" not in page
    assert ":red[hi]" not in page.replace("\\:", "")


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label.startswith(label)).click().run()
    assert not app.exception
    return app


def test_an_answer_that_broke_off_can_be_continued_by_another_model(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq", Fault.cut(2, "rst"))
    with_keys.script("gemini", Reply("and here is the rest."))
    app = ask(open_app(), "Tell me a story.").run()
    press(app, "Continue on Gemini")
    page = shown(app)
    assert "one two" in page
    assert "and here is the rest." in page
    assert "Another model continues" in page
    contents = with_keys.requests.last("gemini").body["contents"]
    assert [turn["role"] for turn in contents] == ["user", "model", "user"]
    assert contents[1]["parts"][0]["text"].strip() == "one two"
    first, second = shared_router().log.conversation(app.query_params["c"])
    assert (first.status, second.status) == ("interrupted", "ok")
    assert second.parent_id == first.prompt_id


def test_the_demo_continues_itself_where_it_broke_off(open_app: OpenApp) -> None:
    app = open_app()
    app.selectbox(key="model").set_value("demo:cut").run()
    ask(app, "Explain gravity.").run()
    press(app, "Continue on Demo")
    whole = "".join(turn.response for turn in shared_router().log.conversation(app.query_params["c"]))
    alone = shared_router().chat("Explain gravity.", model="demo").text
    assert " ".join(whole.split()) == " ".join(alone.split())


def test_thinking_is_offered_where_it_can_be_sent(open_app: OpenApp, with_keys: FaultServer, monkeypatch) -> None:
    monkeypatch.setenv("GEMINI_BACKEND", "sdk")
    app = open_app()
    app.selectbox(key="thinking-groq").set_value("high").run()
    ask(app, "Hello?")
    assert with_keys.requests.last("groq").body["reasoning_effort"] == "high"
    app.selectbox(key="model").set_value("gemini:gemini-3.5-flash-lite").run()
    assert "Thinking" not in [box.label for box in app.selectbox]


def test_a_model_that_cools_down_says_so_in_the_picker_and_in_analytics(
    open_app: OpenApp, with_keys: FaultServer
) -> None:
    with_keys.script("groq", Fault.status(429, retry_after="30"))
    app = ask(open_app(), "Hello?").run()
    assert "is passed over for" in shown(app)
    assert "is passed over for" in shown(app.switch_page("analytics.py").run())


def test_the_picker_lists_what_the_key_may_use(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq/models", ModelList(("openai/gpt-oss-20b", "brand-new-model", "whisper-large-v3")))
    app = open_app()
    with_keys.wait_for("finished", "groq/models")
    wait_until(lambda: "groq:brand-new-model" in [choice.spec for choice in shared_router().models()], within_s=5)
    offered = app.run().selectbox(key="model").options
    assert "GROQ · brand-new-model" in offered
    assert "GROQ · whisper-large-v3" not in offered
    assert "GROQ · qwen/qwen3.8-27b" not in offered
