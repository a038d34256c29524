from __future__ import annotations

from streamlit.testing.v1 import AppTest

from router import shared_router
from router.log.filter import Filter
from tests.faults.behaviours import Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.pages.conftest import OpenApp
from tests.pages.test_chat import ask, shown


def compare(open_app: OpenApp) -> AppTest:
    return open_app().switch_page("compare.py").run()


def test_without_a_key_a_line_up_of_demos_is_ready(open_app: OpenApp) -> None:
    assert compare(open_app).multiselect(key="compare_models").value == ["demo:demo", "demo:slow", "demo:flaky"]


def test_every_model_answers_in_a_column_of_its_own(open_app: OpenApp, with_keys: FaultServer) -> None:
    with_keys.script("groq", Reply("From GROQ.", usage=(10, 5)))
    with_keys.script("gemini", Reply("From Gemini.", usage=(10, 6)))
    app = compare(open_app)
    app.multiselect(key="compare_models").set_value(["groq:openai/gpt-oss-20b", "gemini:gemini-3.5-flash-lite"]).run()
    ask(app, "Hello?")
    first, second = app.columns
    assert "From GROQ." in first.markdown[1].value
    assert "15 tokens" in first.caption[0].value
    assert "From Gemini." in second.markdown[1].value
    assert "16 tokens" in second.caption[0].value
    assert len(app.select_slider) == 2


def test_a_failing_column_leaves_the_others_alone_and_does_not_fall_back(
    open_app: OpenApp, with_keys: FaultServer
) -> None:
    with_keys.script("groq", Fault.status(500))
    with_keys.script("gemini", Reply("From Gemini."))
    app = compare(open_app)
    app.multiselect(key="compare_models").set_value(["groq:openai/gpt-oss-20b", "gemini:gemini-3.5-flash-lite"]).run()
    ask(app, "Hello?")
    assert "server error" in app.columns[0].error[0].value
    assert "From Gemini." in app.columns[1].markdown[1].value
    assert with_keys.requests.count("gemini") == 1


def test_what_was_asked_together_shares_a_run_in_the_log_and_comes_back_in_the_same_order(
    open_app: OpenApp, with_keys: FaultServer
) -> None:
    with_keys.script("groq", Reply("Late.", first_delay=0.3))
    with_keys.script("gemini", Reply("Early."))
    app = compare(open_app)
    models = ["groq:openai/gpt-oss-20b", "gemini:gemini-3.5-flash-lite"]
    app.multiselect(key="compare_models").set_value(models).run()
    ask(app, "Hello?")
    run_id = app.query_params["run"]
    assert len({logged.interaction.run_id for logged in shared_router().log.page(Filter())}) == 1

    fresh = AppTest.from_file(app._script_path, default_timeout=30)
    fresh.query_params["run"] = run_id
    fresh.run().switch_page("compare.py")
    fresh.query_params["run"] = run_id
    fresh.run()
    assert ["Late." in shown(column) for column in fresh.columns] == [True, False]


def test_fewer_than_two_models_cannot_be_compared(open_app: OpenApp) -> None:
    app = compare(open_app)
    app.multiselect(key="compare_models").set_value(["demo:demo"]).run()
    assert app.chat_input[0].disabled
    assert "2 to 4" in app.info[0].value
