from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.parts import charts, colors, history
from router import Router, shared_router
from router.log.interaction import Interaction
from router.templates import Template
from tests.pages.conftest import OpenApp

Open = Callable[[], AppTest]
Log = Callable[..., Interaction]


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    st.cache_data.clear()


@pytest.fixture
def open_page(open_app: OpenApp) -> Open:
    return lambda: open_app().switch_page("analytics.py").run()


@pytest.fixture
def log(open_app: OpenApp) -> Log:
    """Logs an interaction of a minute ago, unless told otherwise."""
    numbers = iter(range(10_000))

    def log(*, ago: timedelta = timedelta(minutes=1), template_text: str | None = None, **said: Any) -> Interaction:
        number = next(numbers)
        timestamp = (datetime.now(UTC) - ago).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values: dict[str, Any] = {
            "prompt_id": f"id-{number}",
            "timestamp": timestamp,
            "provider": "groq",
            "model": "openai/gpt-oss-20b",
            "requested_model": "groq",
            "status": "ok",
            "prompt": f"prompt {number}",
            "response": f"response {number}",
            "latency_ms": 500.0,
            "token_count": 10,
            "cost_usd": 0.001,
        }
        interaction = Interaction(**values | said)
        shared_router().log.append(interaction, template_text)
        return interaction

    return log


def metrics(app: AppTest) -> dict[str, str]:
    assert not app.exception
    return {metric.label: metric.value for metric in app.metric}


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption)


def table(app: AppTest, *columns: str) -> pd.DataFrame:
    return next(found.value for found in app.dataframe if set(columns) <= set(found.value.columns))


def charted(app: AppTest) -> list[Any]:
    return [element.proto for element in app.get("vega_lite_chart")]


def test_an_empty_log_gets_an_explanation_and_ways_to_begin(open_page: Open) -> None:
    app = open_page()
    assert not app.exception
    assert [link.label for link in app.page_link] == ["Ask in Chat", "Put models side by side"]
    assert not app.metric
    assert not app.error


def test_one_request_of_the_demo_makes_charts_with_real_rows(
    open_app: OpenApp, router: Router, open_page: Open
) -> None:
    answer = router.chat("What is 12 * 7?", model="demo")
    router.rate(answer.prompt_id, 5)
    app = open_page()
    assert metrics(app)["Requests"] == "1"
    assert metrics(app)["Mean rating"] == "5.00"
    assert len(charted(app)) == 2
    assert table(app, "Prompt")["Prompt"].tolist() == ["What is 12 * 7?"]


def test_totals_say_what_they_are_of_and_where_they_come_from(open_page: Open, log: Log) -> None:
    log(rating=5, cost_usd=0.002)
    log(rating=4, status="fallback")
    log(cost_usd=None)
    log(status="error", response="", cost_usd=None)
    app = open_page()
    assert metrics(app) == {
        "Requests": "4",
        "Fallback rate": "25.0%",
        "Error rate": "25.0%",
        "Tokens": "40",
        "Cost": r"\$0.0030",
        "Mean rating": "4.50",
    }
    assert "2 requests without a known cost" in captions(app)
    assert "n = 2" in captions(app)


def test_an_unknown_is_called_unknown_and_never_0(open_page: Open, log: Log) -> None:
    log(cost_usd=None, status="error", response="", latency_ms=30.0)
    app = open_page()
    assert metrics(app)["Cost"] == "Unknown"
    assert metrics(app)["Mean rating"] == "Unknown"
    assert "Unknown: no request was answered to its end." in captions(app)
    models = table(app, "Mean latency")
    assert models[["Mean latency", "First token", "Cost"]].values.tolist() == [["unknown", "unknown", "unknown"]]
    assert table(app, "Prompt")["Cost"].tolist() == ["unknown"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("log_range", "Last hour", ["recent"]),
        ("log_range", "Last 7 days", ["recent", "of yesterday"]),
        ("log_range", "All time", ["recent", "of yesterday", "of last month"]),
        ("log_models", ["demo"], ["of yesterday"]),
        ("log_templates", ["friendly"], ["recent"]),
        ("log_templates", ["No template"], ["of yesterday", "of last month"]),
        ("log_statuses", ["error"], ["of last month"]),
        ("log_text", "YESTER", ["of yesterday"]),
    ],
)
def test_a_filter_applies_to_everything(open_page: Open, log: Log, key: str, value: Any, expected: list[str]) -> None:
    log(prompt="recent", template="friendly", rating=3)
    log(prompt="of yesterday", ago=timedelta(days=1), model="demo", provider="demo", rating=3)
    log(prompt="of last month", ago=timedelta(days=40), status="error", rating=3)
    app = open_page()
    widgets = {"log_range": app.selectbox, "log_text": app.text_input, "log_statuses": app.pills}
    app = widgets.get(key, app.multiselect)(key=key).set_value(value).run()
    assert metrics(app)["Requests"] == str(len(expected))
    assert table(app, "Prompt")["Prompt"].tolist() == expected
    assert table(app, "Requests")["Requests"].sum() == len(expected)
    assert table(app, "n")["n"].sum() == len(expected)


def test_filters_are_kept_from_page_to_page_and_can_be_cleared(open_page: Open, log: Log) -> None:
    log()
    app = open_page()
    app = app.text_input(key="log_text").set_value("nowhere").run()
    app = app.switch_page("chat.py").run()
    app = app.switch_page("analytics.py").run()
    assert app.text_input(key="log_text").value == "nowhere"
    assert not app.metric
    app = next(button for button in app.button if button.label == "Clear the filters").click().run()
    assert metrics(app)["Requests"] == "1"


def test_the_table_is_paged_newest_first_and_holds_no_more_than_a_page(open_page: Open, log: Log) -> None:
    for number in range(history.PAGE_SIZE + 5):
        log(prompt=f"{number} " + "long " * 1000, ago=timedelta(minutes=100 - number))
    app = open_page()
    rows = table(app, "Prompt")
    assert len(rows) == history.PAGE_SIZE
    assert rows["Prompt"][0].startswith(str(history.PAGE_SIZE + 4))
    assert rows["Prompt"].str.len().max() <= history.EXCERPT_CHARS
    app.session_state["log-page-0"] = 2
    app = app.run()
    assert [prompt.split()[0] for prompt in table(app, "Prompt")["Prompt"]] == ["4", "3", "2", "1", "0"]


def test_a_changed_filter_goes_back_to_the_first_page(open_page: Open, log: Log) -> None:
    for number in range(3 * history.PAGE_SIZE):
        log(prompt=f"{number}", ago=timedelta(minutes=100 - number))
    app = open_page()
    app.session_state["log-page-0"] = 3
    app = app.run()
    app = app.selectbox(key="log_range").set_value("Last 24 hours").run()
    assert table(app, "Prompt")["Prompt"][0] == str(3 * history.PAGE_SIZE - 1)


def test_a_chosen_row_is_read_in_full_and_untrusted_text_stays_text(open_page: Open, log: Log) -> None:
    template = Template("friendly", "Kindly: {prompt}")
    logged = log(
        prompt="![track](http://evil/x.png) :red[x]",
        response="It costs $5, ![track](http://evil/x.png)",
        system="Be brief.",
        template="friendly",
        template_version=template.version,
        template_text=template.text,
        params={"temperature": 0.7},
        attempts=[{"provider": "groq", "model": "openai/gpt-oss-20b", "outcome": "ok"}],
        conversation_id="conversation-1",
    )
    app = open_page()
    app.session_state["log_chosen"] = logged.prompt_id
    app = app.run()
    assert not app.exception
    codes = [code.value for code in app.code]
    assert logged.prompt in codes
    assert "Kindly: " + logged.prompt in codes
    assert "Be brief." in codes
    assert json.dumps({"temperature": 0.7}, indent=2) in codes
    assert any(logged.prompt_id in code and "conversation-1" in code for code in codes)
    assert r"It costs \$5, !\[track](http://evil/x.png)" in [markdown.value for markdown in app.markdown]


def test_a_row_that_is_gone_says_so(open_page: Open, log: Log) -> None:
    log()
    app = open_page()
    app.session_state["log_chosen"] = "nowhere"
    app = app.run()
    assert not app.exception
    assert "nowhere" in app.error[0].value


def test_ratings_come_with_n_and_their_distribution_most_evidence_first(open_page: Open, log: Log) -> None:
    for rating in (5, 5, 2):
        log(rating=rating, template="friendly")
    log(rating=1)
    log(rating=4, model="demo", provider="demo")
    app = open_page()
    by_model = table(app, "n")
    assert by_model["Model"].map(list).tolist() == [["openai/gpt-oss-20b"], ["demo"]]
    assert by_model["Mean"].tolist() == [3.25, 4.0]
    assert by_model["n"].tolist() == [4, 1]
    assert by_model["1 to 5"].map(list).tolist() == [[1, 1, 0, 0, 2], [0, 0, 0, 1, 0]]
    app = app.get_by_key("log_grouping").set_value("Template").run()
    by_template = table(app, "n").set_index("Template")
    assert by_template["n"].to_dict() == {"friendly": 3, "No template": 2}
    assert by_template["Mean"]["friendly"] == pytest.approx(4.0)


def test_both_downloads_are_links_that_need_no_token(
    open_page: Open, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "a-token-of-the-api")
    log()
    links = {link.label: link.url for link in open_page().link_button}
    assert list(links) == ["Download CSV", "Download JSON"]
    assert links["Download CSV"].startswith("/logs/prompts.csv?")
    assert "signature=" in links["Download JSON"]
    assert "a-token-of-the-api" not in str(links)


def test_a_log_that_cannot_be_read_says_so_and_the_page_stands(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/no/such/folder/log.db")
    app = open_page()
    assert not app.exception
    assert app.error[0].proto.title == "The log cannot be read"
    assert app.title[0].value == "Analytics"


def test_every_chart_and_table_has_a_name_for_those_who_do_not_see_it(open_page: Open, log: Log) -> None:
    log(rating=4)
    app = open_page()
    assert all(found.proto.alt for found in app.dataframe)
    assert [chart.alt for chart in charted(app)] == [
        "Requests over time by model, most of them to openai/gpt-oss-20b",
        "Median latency over time by model, lowest for openai/gpt-oss-20b, highest for openai/gpt-oss-20b",
    ]


def test_what_a_chart_gets_does_not_grow_with_the_log() -> None:
    days = pd.date_range("2020-01-01", periods=1000, tz="UTC")
    models = [f"model {number}" for number in range(20)]
    frame = pd.DataFrame(
        [
            {"time": day, "model": model, "requests": 20 - number, "median_latency_ms": 1.0, "p95_latency_ms": 2.0}
            for day in days
            for number, model in enumerate(models)
        ]
    )
    bounded = charts.bounded(frame)
    assert sorted(bounded["model"].unique()) == sorted(models[: charts.MOST_MODELS])
    assert bounded["time"].unique().tolist() == days[-charts.MOST_BUCKETS :].tolist()


def test_a_model_keeps_its_colour_whoever_is_beside_it(open_app: OpenApp) -> None:
    palette = colors.palette_size()
    known = [choice.model for choice in shared_router().models()]
    for model in [*known, "someone's/own-model"]:
        alone = colors.arranged([model]).index(model)
        among = colors.arranged([*known, "someone's/own-model", "another"]).index(model)
        assert alone % palette == among % palette


def test_default_models_of_the_providers_have_colours_of_their_own(open_app: OpenApp) -> None:
    router = shared_router()
    defaults = [provider.default_model for provider in router.providers.values()]
    places = [colors.arranged([model]).index(model) for model in defaults]
    assert len(set(places)) == len(defaults)
