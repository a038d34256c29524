from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import App, StartApp
from tests.browser.steps import ask, main, set_rating, wait_for_log
from tests.faults.behaviours import Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer


def test_an_answer_streams_is_rated_and_survives_a_reload(start_app: StartApp, page: Page) -> None:
    app = start_app()
    page.goto(app.url)
    expect(page.get_by_text("GROQ_API_KEY")).to_be_visible()
    ask(page, "Explain gravity.")
    expect(main(page).get_by_text("Writing")).to_be_visible()
    expect(main(page).get_by_text("Gravity", exact=True).first).to_be_visible()
    expect(main(page).get_by_text("Writing")).to_be_hidden()
    set_rating(page, 4)
    wait_for_log(app, lambda log: log.rating.tolist() == [4])
    page.reload()
    expect(main(page).get_by_text("Explain gravity.")).to_be_visible()
    expect(main(page).get_by_role("slider")).to_have_attribute("aria-valuetext", "4")


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_ends_the_upstream_request_and_keeps_the_partial_answer(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str], how: str
) -> None:
    faults.script("groq", Fault.hang(2))
    app = start_app(**with_keys)
    page.goto(app.url)
    ask(page, "Tell me a long story.")
    expect(main(page).get_by_text("one two").first).to_be_visible()
    stop = main(page).get_by_role("button", name="Stop")
    expect(stop).to_be_visible()
    if how == "button":
        stop.click()
    else:
        page.keyboard.press("Escape")
    faults.wait_for("disconnected", "groq", within=5.0)
    expect(main(page).get_by_text("Stopped")).to_be_visible()
    expect(main(page).get_by_text("one two").first).to_be_visible()
    expect(main(page).get_by_role("slider")).to_be_visible()
    wait_for_log(app, lambda log: log.status.tolist() == ["stopped"] and log.response[0].strip() == "one two")


def test_a_click_elsewhere_does_not_end_an_answer(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str]
) -> None:
    faults.script("groq", Reply("First answer."), Reply("slow " * 40 + "but complete", delay=0.05))
    page.goto(start_app(**with_keys).url)
    ask(page, "First?")
    expect(main(page).get_by_role("slider")).to_be_visible()
    ask(page, "Second?")
    expect(main(page).get_by_text("slow slow")).to_be_visible()
    set_rating(page, 5)
    expect(main(page).get_by_text("but complete")).to_be_visible()
    expect(main(page).get_by_text("Stopped")).to_be_hidden()
    expect(main(page).get_by_role("slider").first).to_have_attribute("aria-valuetext", "5")


@pytest.mark.parametrize("leave", ["reload", "another page", "close"])
def test_leaving_ends_the_upstream_request_and_keeps_the_partial_answer(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str], leave: str
) -> None:
    faults.script("groq", Fault.hang(2))
    app = start_app(**with_keys)
    page.goto(app.url)
    ask(page, "Tell me a long story.")
    expect(main(page).get_by_text("one two").first).to_be_visible()
    if leave == "reload":
        page.reload()
    elif leave == "another page":
        page.get_by_role("link", name="Templates").click()
    else:
        page.goto("about:blank")
    faults.wait_for("disconnected", "groq", within=5.0)
    wait_for_log(app, lambda log: log.status.tolist() == ["stopped"])
    if leave == "reload":
        expect(main(page).get_by_text("one two").first).to_be_visible()


def test_a_conversation_follows_the_answer_as_it_grows(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str]
) -> None:
    faults.script("groq", Reply("\n\n".join(f"Paragraph {number}." for number in range(60)), delay=0.005))
    page.goto(start_app(**with_keys).url)
    ask(page, "Write a lot.")
    expect(main(page).get_by_text("Paragraph 59.")).to_be_in_viewport()


def test_what_was_chosen_is_what_is_sent(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str]
) -> None:
    page.goto(start_app(**with_keys).url)
    page.get_by_role("combobox", name="Template").click()
    page.get_by_role("option", name="concise").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("System prompt").press("Tab")
    ask(page, "Explain {braces} and $5.")
    expect(main(page).get_by_text("Hello there.")).to_be_visible()
    body = faults.requests.last("groq").body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "Explain {braces} and $5." in body["messages"][1]["content"]
    assert body["messages"][1]["content"] != "Explain {braces} and $5."


def test_a_prompt_of_50_kilobytes_is_sent_whole(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str]
) -> None:
    prompt = "word " * 10_000
    app: App = start_app(**with_keys)
    page.goto(app.url)
    ask(page, prompt)
    expect(main(page).get_by_text("Hello there.")).to_be_visible()
    assert faults.requests.last("groq").body["messages"][0]["content"].strip() == prompt.strip()
    wait_for_log(app, lambda log: [text.strip() for text in log.prompt] == [prompt.strip()])


def test_a_double_press_of_enter_asks_once(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str]
) -> None:
    page.goto(start_app(**with_keys).url)
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("Hello?")
    box.press("Enter")
    box.press("Enter")
    expect(main(page).get_by_role("slider")).to_be_visible()
    ask(page, "And then?")
    expect(main(page).get_by_role("slider")).to_have_count(2)
    assert faults.requests.count("groq") == 2
