"""Two replicas behind the proxy of compose.yaml. Debian's HAProxy is used: `apt-get install haproxy`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from tests.browser.conftest import App, StartApp, free_port
from tests.browser.steps import ask, main, set_rating
from tests.compose import REPLICAS, proxy_on_this_machine
from tests.faults.behaviours import Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.log.support import wait_until
from tests.postgresql import empty_schema

# Where Debian puts it is not on everybody's PATH.
HAPROXY = shutil.which("haproxy", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


@contextmanager
def proxy(apps: Mapping[str, App], folder: Path) -> Iterator[str]:
    """Run the proxy before these replicas until the block is left. Gives its address."""
    assert HAPROXY, "no HAProxy found"
    port = free_port()
    configuration = folder / "haproxy.cfg"
    configuration.write_text(proxy_on_this_machine(port, {name: httpx.URL(app.url).port for name, app in apps.items()}))
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([HAPROXY, "-db", "-f", str(configuration)])
    try:
        with httpx.Client(trust_env=False) as client:
            while process.poll() is None:
                try:
                    client.get(f"{address}/_stcore/health").raise_for_status()
                    break
                except httpx.TransportError:
                    continue
        assert process.poll() is None, configuration.read_text()
        yield address
    finally:
        process.terminate()
        process.wait(10)


def replica_of(page: Page) -> str:
    """The replica to which the proxy sends this browser."""
    (cookie,) = [cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "replica"]
    return cookie


def logged(app: App) -> list[tuple[str, int | None]]:
    """What was asked, and its rating, as this replica tells it."""
    rows = httpx.get(f"{app.url}/logs/prompts.json", trust_env=False).raise_for_status().json()
    return [(row["prompt"], row["rating"]) for row in rows]


@pytest.mark.skipif(not HAPROXY and not os.environ.get("REQUIRE_BROWSER"), reason="no HAProxy found; install it")
def test_a_page_stays_with_one_replica_and_goes_on_at_the_other_when_that_one_dies(
    start_app: StartApp,
    page: Page,
    faults: FaultServer,
    with_keys: dict[str, str],
    postgresql: sa.URL,
    tmp_path: Path,
) -> None:
    faults.script("groq", Reply("First answer."), Fault.hang(2), Reply("Third answer."))
    url = empty_schema(postgresql)
    apps = {name: start_app(**with_keys, DATABASE_URL=url, LOG_DIR=str(tmp_path / name)) for name in REPLICAS}
    with proxy(apps, tmp_path) as address:
        page.goto(address)
        ask(page, "First?")
        set_rating(page, 4)
        wait_until(lambda: all(logged(app) == [("First?", 4)] for app in apps.values()), within_s=10)
        its_own = replica_of(page)
        page.reload()
        ask(page, "Second?")
        expect(main(page).get_by_text("one two").first).to_be_visible()
        assert replica_of(page) == its_own

        with page.expect_websocket():  # the browser connects again by itself
            os.kill(apps[its_own].pid, signal.SIGKILL)
        ask(page, "Third?")
        expect(main(page).get_by_text("Third answer.")).to_be_visible()
        expect(main(page).get_by_text("First answer.")).to_be_visible()
        expect(main(page).get_by_role("slider")).to_have_count(2)
        expect(main(page).get_by_role("slider").first).to_have_attribute("aria-valuetext", "4")
        (other,) = apps.keys() - {its_own}
        assert replica_of(page) == other
        assert {("First?", 4), ("Third?", None)} <= {*logged(apps[other])}
