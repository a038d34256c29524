from __future__ import annotations

import json

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import StartApp
from tests.browser.steps import ask, main, set_rating, wait_for_log
from tests.faults.behaviours import Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer

PAGES = ["", "compare", "analytics", "templates"]


def test_compare_streams_side_by_side_and_a_failing_column_leaves_the_others_alone(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str]
) -> None:
    faults.script("groq", Fault.status(503))
    faults.script("gemini", Reply("slow " * 20 + "but complete", delay=0.03))
    app = start_app(**with_keys)
    page.goto(f"{app.url}/compare")
    ask(page, "Who are you?")
    columns = main(page).get_by_test_id("stColumn")
    expect(columns).to_have_count(2)
    expect(columns.nth(0).get_by_text("overloaded")).to_be_visible()
    expect(columns.nth(1).get_by_text("slow slow")).to_be_visible()
    expect(columns.nth(1).get_by_text("but complete")).to_be_visible()
    expect(columns.nth(1).get_by_text("tokens")).to_be_visible()
    set_rating(page, 3)
    wait_for_log(app, lambda log: sorted(log.rating.dropna().tolist()) == [3])


def test_stop_ends_every_column(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str]
) -> None:
    faults.script("groq", Fault.hang(2))
    faults.script("gemini", Fault.hang(None))
    app = start_app(**with_keys)
    page.goto(f"{app.url}/compare")
    ask(page, "Who are you?")
    expect(main(page).get_by_text("one two").first).to_be_visible()
    main(page).get_by_role("button", name="Stop").click()
    faults.wait_for("disconnected", "groq", within=5.0)
    faults.wait_for("disconnected", "gemini", within=5.0)
    expect(main(page).get_by_text("Stopped")).to_have_count(2)
    wait_for_log(app, lambda log: log.status.tolist() == ["stopped", "stopped"])


@pytest.mark.parametrize("path", PAGES)
def test_a_deep_link_on_a_fresh_server_shows_the_page_and_the_navigation(
    start_app: StartApp, page: Page, path: str
) -> None:
    page.goto(f"{start_app().url}/{path}")
    for name in ("Chat", "Compare", "Analytics", "Templates"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(page.get_by_text("GROQ_API_KEY")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_narrow_window_needs_no_sideways_scrolling(start_app: StartApp, page: Page, path: str, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{start_app().url}/{path}")
    expect(page.get_by_text("GROQ_API_KEY")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_the_downloaded_csv_opens_in_pandas(start_app: StartApp, page: Page, tmp_path) -> None:
    app = start_app()
    page.goto(app.url)
    ask(page, "What is 12 * 7?")
    set_rating(page, 5)
    wait_for_log(app, lambda log: log.rating.tolist() == [5])
    page.get_by_role("link", name="Analytics").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").click()
    downloading.value.save_as(tmp_path / "downloaded.csv")
    log = pd.read_csv(tmp_path / "downloaded.csv")
    assert log.prompt.tolist() == ["What is 12 * 7?"]
    assert log.rating.tolist() == [5]
    assert "84" in log.response[0]


def test_an_edited_template_is_used_by_the_next_chat(
    start_app: StartApp, page: Page, faults: FaultServer, with_keys: dict[str, str]
) -> None:
    app = start_app(**with_keys)
    page.goto(f"{app.url}/templates")
    text = page.get_by_label("Template text")
    text.fill("In the voice of a pirate, with {braces}: {prompt}")
    text.press("Control+Enter")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    edited = json.loads((app.folder / "prompt_templates.json").read_text())
    name = next(name for name, text in edited.items() if text.startswith("In the voice of a pirate"))
    page.get_by_role("link", name="Chat", exact=True).click()
    page.get_by_role("combobox", name="Template").click()
    page.get_by_role("option", name=name).click()
    ask(page, "Explain gravity.")
    expect(main(page).get_by_text("Hello there.")).to_be_visible()
    sent = faults.requests.last("groq").body["messages"][-1]["content"]
    assert sent == "In the voice of a pirate, with {braces}: Explain gravity."
