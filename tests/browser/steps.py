"""What a person does in the app, and looks at."""

from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd
from playwright.sync_api import Locator, Page

from tests.browser.conftest import App


def main(page: Page) -> Locator:
    """The page without Streamlit's own toolbar, which has a Stop button of its own."""
    return page.get_by_test_id("stAppViewContainer")


def ask(page: Page, prompt: str) -> None:
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(prompt)
    box.press("Enter")


def set_rating(page: Page, rating: int, position: int = 0) -> None:
    """With the keyboard: the first step leaves "Not rated"."""
    slider = main(page).get_by_role("slider").nth(position)
    slider.focus()
    for step in range(1, rating + 1):
        slider.press("ArrowRight")
        page.wait_for_function(
            "([slider, value]) => slider.getAttribute('aria-valuetext') === value",
            arg=[slider.element_handle(), str(step)],
        )


def wait_for_log(app: App, promise: Callable[[pd.DataFrame], bool], within: float = 5.0) -> None:
    """Until the CSV log says so."""
    deadline = time.monotonic() + within
    while True:
        log = pd.read_csv(app.csv)
        if promise(log):
            return
        assert time.monotonic() < deadline, log.to_string()
