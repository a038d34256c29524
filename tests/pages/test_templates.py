from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.parts import drafts
from router.templates import TemplateStore
from tests.pages.conftest import OpenApp

Open = Callable[[], AppTest]


@pytest.fixture
def templates_file(tmp_path: Path, open_app: OpenApp) -> Path:
    path = tmp_path / "prompt_templates.json"
    path.write_text(json.dumps({"short": "Briefly: {prompt}", "in": "In {language}: {prompt}"}), "utf-8")
    return path


@pytest.fixture
def open_page(open_app: OpenApp, templates_file: Path) -> Open:
    return lambda: open_app().switch_page("templates.py").run()


@pytest.fixture
def someone_else(templates_file: Path) -> TemplateStore:
    """The same file, in another process's hands."""
    return TemplateStore(templates_file)


def stored(file: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(file.read_text("utf-8"))
    return found


def type_text(app: AppTest, text: str, name: str = "short") -> AppTest:
    return app.text_area(key=drafts.text_key(name)).set_value(text).run()


def press(app: AppTest, label: str) -> AppTest:
    app = next(button for button in app.button if button.label == label).click().run()
    assert not app.exception
    return app


def shown(app: AppTest) -> str:
    assert not app.exception
    kinds = (app.markdown, app.caption, app.code, app.error, app.warning, app.text)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def captions(app: AppTest) -> list[str]:
    return list(app.radio[0].proto.captions)


def titles(app: AppTest) -> list[str]:
    return [alert.proto.title for kind in (app.error, app.warning) for alert in kind]


def test_the_list_shows_every_template_by_name_and_first_line(open_page: Open) -> None:
    app = open_page()
    assert app.radio[0].options == ["short", "in"]
    assert captions(app) == [
        r"Briefly\:" + "\u2060" + r" \{prompt\}",
        r"In \{language\}\:" + "\u2060 " + r"\{prompt\}",
    ]


def test_an_edit_is_previewed_with_its_tokens_and_saved(open_page: Open, templates_file: Path) -> None:
    app = type_text(open_page(), "Say it shortly: {prompt}")
    app = app.text_area(key="template_sample").set_value("What is :red[{prompt}]?").run()
    assert app.code[0].value == "Say it shortly: What is :red[{prompt}]?"
    assert "tokens (" in shown(app)
    app = press(app, "Save")
    assert stored(templates_file)["short"] == "Say it shortly: {prompt}"
    assert "Draft" not in captions(app)[0]


def test_other_placeholders_get_sample_values(open_page: Open) -> None:
    app = open_page()
    app = app.radio[0].set_value("in").run()
    assert app.code[0].value == "In [language]: Explain gravity."
    app = app.text_input(key="template_sample_language").set_value("French").run()
    assert app.code[0].value == "In French: Explain gravity."
    app = app.text_input(key="template_sample_language").set_value("").run()
    assert app.code[0].value == "In {language}: Explain gravity."


def test_a_new_template_is_added_at_the_end(open_page: Open, templates_file: Path) -> None:
    app = press(open_page(), "New template")
    app.text_input(key=drafts.name_key(drafts.NEW)).set_value("rhyme")
    app = type_text(app, "In rhyme: {prompt}", drafts.NEW)
    app = press(app, "Save")
    assert list(stored(templates_file)) == ["short", "in", "rhyme"]
    assert app.radio[0].value == "rhyme"
    assert app.radio[0].options == ["short", "in", "rhyme"]


def test_a_new_name_renames_and_keeps_the_place(open_page: Open, templates_file: Path) -> None:
    app = open_page()
    app = app.text_input(key=drafts.name_key("short")).set_value("brief").run()
    app = press(app, "Save")
    assert stored(templates_file) == {"brief": "Briefly: {prompt}", "in": "In {language}: {prompt}"}
    assert app.radio[0].value == "brief"


def test_a_text_without_prompt_is_refused_and_kept(open_page: Open, templates_file: Path) -> None:
    app = press(type_text(open_page(), "No place for it"), "Save")
    assert "Not saved" in titles(app)
    assert app.text_area(key=drafts.text_key("short")).value == "No place for it"
    assert stored(templates_file)["short"] == "Briefly: {prompt}"


def test_a_name_that_is_taken_is_refused_and_kept(open_page: Open, templates_file: Path) -> None:
    app = open_page()
    app = app.text_input(key=drafts.name_key("short")).set_value("in").run()
    app = press(app, "Save")
    assert "Not saved" in titles(app)
    assert app.text_input(key=drafts.name_key("short")).value == "in"
    assert list(stored(templates_file)) == ["short", "in"]


def conflict(open_page: Open, someone_else: TemplateStore) -> AppTest:
    """Two people edit `short`; the other one saves first, and then Save is pressed here."""
    app = type_text(open_page(), "Mine: {prompt}")
    someone_else.save("short", "Theirs: {prompt}", base_version=someone_else.get("short").version)
    return press(app, "Save")


def test_a_save_never_loses_what_someone_else_saved_meanwhile(
    open_page: Open, someone_else: TemplateStore, templates_file: Path
) -> None:
    app = conflict(open_page, someone_else)
    assert stored(templates_file)["short"] == "Theirs: {prompt}"
    assert titles(app) == ["Someone else changed this template meanwhile"]
    assert app.text_area(key=drafts.text_key("short")).value == "Mine: {prompt}"
    assert "Theirs: {prompt}" in [code.value for code in app.code]


def test_after_a_conflict_theirs_can_be_overwritten_knowingly(
    open_page: Open, someone_else: TemplateStore, templates_file: Path
) -> None:
    app = press(conflict(open_page, someone_else), "Overwrite theirs with mine")
    assert stored(templates_file)["short"] == "Mine: {prompt}"
    assert titles(app) == []


def test_overwriting_meets_a_third_version_too(
    open_page: Open, someone_else: TemplateStore, templates_file: Path
) -> None:
    app = conflict(open_page, someone_else)
    someone_else.save("short", "A third: {prompt}", base_version=someone_else.get("short").version)
    app = press(app, "Overwrite theirs with mine")
    assert stored(templates_file)["short"] == "A third: {prompt}"
    assert app.text_area(key=drafts.text_key("short")).value == "Mine: {prompt}"
    assert "A third: {prompt}" in [code.value for code in app.code]


def test_after_a_conflict_theirs_can_be_loaded(
    open_page: Open, someone_else: TemplateStore, templates_file: Path
) -> None:
    app = press(conflict(open_page, someone_else), "Load theirs, discard mine")
    assert app.text_area(key=drafts.text_key("short")).value == "Theirs: {prompt}"
    assert stored(templates_file)["short"] == "Theirs: {prompt}"


def test_what_was_typed_survives_that_someone_else_deletes_the_template(
    open_page: Open, someone_else: TemplateStore, templates_file: Path
) -> None:
    app = type_text(open_page(), "Mine: {prompt}")
    someone_else.delete("short", base_version=someone_else.get("short").version)
    app = press(app, "Save")
    assert app.text_area(key=drafts.text_key("short")).value == "Mine: {prompt}"
    app = press(app, "Save as new")
    assert stored(templates_file) == {"in": "In {language}: {prompt}", "short": "Mine: {prompt}"}


def test_an_edit_by_someone_else_appears_when_nothing_is_typed(open_page: Open, someone_else: TemplateStore) -> None:
    app = open_page()
    someone_else.save("short", "Theirs: {prompt}", base_version=someone_else.get("short").version)
    app = app.run()
    assert app.text_area(key=drafts.text_key("short")).value == "Theirs: {prompt}"
    assert titles(app) == []


def test_unsaved_changes_are_flagged_and_survive_other_templates_and_pages(open_page: Open) -> None:
    app = type_text(open_page(), "Half a thought {prompt}")
    assert ["Draft" in caption for caption in captions(app)] == [True, False]
    app = app.radio[0].set_value("in").run()
    app = app.switch_page("chat.py").run()
    app = app.switch_page("templates.py").run()
    assert ["Draft" in caption for caption in captions(app)] == [True, False]
    app = app.radio[0].set_value("short").run()
    assert app.text_area(key=drafts.text_key("short")).value == "Half a thought {prompt}"
    app = press(app, "Discard")
    assert app.text_area(key=drafts.text_key("short")).value == "Briefly: {prompt}"


def test_a_deletion_is_confirmed_first_and_can_be_undone(open_page: Open, templates_file: Path) -> None:
    app = press(open_page(), "Delete")
    assert list(stored(templates_file)) == ["short", "in"]
    app = app.button(key="template_delete").click().run()
    assert list(stored(templates_file)) == ["in"]
    app = press(app, "Undo")
    assert stored(templates_file)["short"] == "Briefly: {prompt}"
    assert app.radio[0].value == "short"


def test_a_deletion_spares_what_someone_else_saved_meanwhile(
    open_page: Open, someone_else: TemplateStore, templates_file: Path
) -> None:
    app = press(open_page(), "Delete")
    someone_else.save("short", "Theirs: {prompt}", base_version=someone_else.get("short").version)
    app = app.button(key="template_delete").click().run()
    assert stored(templates_file)["short"] == "Theirs: {prompt}"
    assert "Not deleted" in titles(app)


def test_a_broken_file_is_reported_with_line_and_column_and_left_alone(open_page: Open, templates_file: Path) -> None:
    broken = '{\n  "short": "Briefly: {prompt}",,\n}'
    templates_file.write_text(broken, "utf-8")
    app = open_page()
    assert "line 2, column" in app.error[0].value
    assert app.title[0].value == "Templates"
    assert templates_file.read_text("utf-8") == broken


def test_what_was_typed_survives_a_file_that_is_broken_for_a_while(open_page: Open, templates_file: Path) -> None:
    app = type_text(open_page(), "Half a thought {prompt}")
    whole = templates_file.read_text("utf-8")
    templates_file.write_text("{", "utf-8")
    app = app.run()
    assert app.error
    templates_file.write_text(whole, "utf-8")
    app = press(app, "Try again")
    assert app.text_area(key=drafts.text_key("short")).value == "Half a thought {prompt}"


def test_without_any_template_the_page_says_what_one_is(open_page: Open, templates_file: Path) -> None:
    templates_file.unlink()
    app = open_page()
    assert "A template wraps what you ask" in shown(app)
    app = press(app, "New template")
    app.text_input(key=drafts.name_key(drafts.NEW)).set_value("first")
    app = press(type_text(app, "First: {prompt}", drafts.NEW), "Save")
    assert stored(templates_file) == {"first": "First: {prompt}"}


def test_names_and_first_lines_are_no_markdown(open_page: Open, templates_file: Path) -> None:
    templates_file.write_text(json.dumps({":red[x]": "![i](http://x/y.png) :smile: {prompt}"}), "utf-8")
    app = open_page()
    assert app.radio[0].options == ["\\:\u2060red\\[x\\]"]
    assert captions(app)[0].startswith(r"\!\[i\]\(http\:")
