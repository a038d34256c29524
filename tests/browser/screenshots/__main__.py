"""Take them all: python -m tests.browser.screenshots [folder]"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from router import Router, RouterError, Settings
from router.providers.demo import Demo
from tests.browser.conftest import CHROMIUM, FLAGS, ROOT
from tests.browser.steps import ask, main, set_rating

PORT = 8599
PROMPTS = ("Explain gravity.", "Explain DNS.", "What is 15% of 249?", "Explain recursion.", "Explain photosynthesis.")


def fill_the_log(log_dir: Path) -> None:
    """Some interactions with every demo model, most of them rated."""
    demo = Demo(words_per_second=120)
    with Router(
        Settings(log_dir=log_dir, templates_file=ROOT / "prompt_templates.json"), providers={"demo": demo}
    ) as router:
        for round_ in range(3):
            for number, prompt in enumerate(PROMPTS):
                for model, rating in (
                    ("demo", 4 + number % 2),
                    ("demo:flaky", 3 + number % 2),
                    ("demo:cut", 1 + round_),
                ):
                    template = (None, "friendly", "concise")[(number + round_) % 3]
                    try:
                        with router.stream(prompt, model=model, template=template) as stream:
                            for _ in stream:
                                pass
                    except RouterError:
                        pass
                    if number != round_:
                        router.rate(stream.answer.prompt_id, rating)


def take(page: Page, url: str, folder: Path) -> None:
    """Do on each page what it is for, and take its picture."""
    page.goto(url)
    page.get_by_role("combobox", name="Template").click()
    page.get_by_role("option", name="friendly").click()
    ask(page, "Explain gravity.")
    set_rating(page, 5)
    page.screenshot(path=folder / "chat.png")
    page.goto(f"{url}/compare")
    ask(page, "Explain DNS.")
    main(page).get_by_role("slider").first.wait_for()
    main(page).get_by_role("button", name="Run again").scroll_into_view_if_needed()
    page.screenshot(path=folder / "compare.png")
    for name in ("analytics", "templates"):
        page.goto(f"{url}/{name}")
        page.get_by_role("link", name=name.capitalize()).wait_for()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(2_000)  # charts are drawn a moment after their data has come
        page.screenshot(path=folder / f"{name}.png")


def run(folder: Path) -> None:
    """Start the app with a log of its own, and take the pictures into `folder`."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        log_dir = Path(scratch) / "logs"
        fill_the_log(log_dir)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
            "LOG_DIR": str(log_dir),
            "STREAMLIT_SERVER_PORT": str(PORT),
            "STREAMLIT_SERVER_HEADLESS": "true",
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"], cwd=ROOT, env=environment
        )
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=30), trust_env=False) as client:
                client.get(f"http://127.0.0.1:{PORT}/health", timeout=30)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(60_000)
            take(page, f"http://127.0.0.1:{PORT}", folder)
            browser.close()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    run(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
