from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import templates as templates_module
from router.errors import BadRequest, TemplateConflict, TemplatesBroken, UnknownTemplate
from router.templates import Template, TemplateStore

SHIPPED = Path(__file__).parent.parent / "prompt_templates.json"


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    file = tmp_path / "prompt_templates.json"
    file.write_text(
        '{\n  "short": "Briefly: {prompt}",\n  "grüße": "Grüße! {prompt}",\n  "last": "{prompt} 🙂"\n}\n', "utf-8"
    )
    return TemplateStore(file)


# Rendering


def render(text: str, prompt: str, **variables: object) -> str:
    return Template("t", text).render(prompt, variables)


def test_only_declared_placeholders_are_replaced() -> None:
    assert render('{"a": {prompt}, "b": {}}', "x") == '{"a": x, "b": {}}'
    assert render("{prompt.__class__} {prompt[0]} {0} {prompt!r} {prompt}", "x") == (
        "{prompt.__class__} {prompt[0]} {0} {prompt!r} x"
    )
    assert render("{{prompt}} { prompt } {prompt}", "x") == "{x} { prompt } x"


def test_what_was_put_in_is_not_expanded_again() -> None:
    assert render("{prompt} in {language}", "say {prompt} {language}", language="{prompt}") == (
        "say {prompt} {language} in {prompt}"
    )


def test_a_placeholder_without_a_value_stays() -> None:
    assert render("{name}: {prompt}", "x") == "{name}: x"
    assert render("{name}: {prompt}", "x", name=3, unused="y") == "3: x"


def test_a_text_without_prompt_refuses_to_lose_the_prompt() -> None:
    with pytest.raises(BadRequest, match=r"\{prompt\}"):
        render("no place", "x")


def test_a_variable_cannot_take_the_prompt_s_place() -> None:
    with pytest.raises(BadRequest, match="prompt"):
        Template("t", "{prompt}").render("x", {"prompt": "y"})


@given(before=st.text(), prompt=st.text(), after=st.text(), value=st.text())
def test_any_prompt_is_literally_inside(before: str, prompt: str, after: str, value: str) -> None:
    rendered = render(before + "{prompt}" + after, prompt, v=value)
    assert prompt in rendered
    assert render("{prompt}", prompt) == prompt
    assert render("<{prompt}|{v}>", prompt, v=value) == f"<{prompt}|{value}>"


@given(st.text(st.sampled_from('{}"[]: \\ab0._'), max_size=60))
def test_braces_around_the_prompt_stay_literal(noise: str) -> None:
    # No identifier of the noise has a value, so everything but the prompt is as it was.
    assert render(noise + " {prompt} " + noise, "P") == noise + " P " + noise


def test_placeholders_and_version() -> None:
    template = Template("t", "{b} {prompt} {a} {b} {not-one} {{c}}")
    assert template.placeholders == ("b", "prompt", "a", "c")
    assert len(template.version) == 12
    assert template.version == Template("other name", template.text).version
    assert template.version != Template("t", template.text + " ").version


# Reading


def test_an_unknown_template_lists_the_names(store: TemplateStore) -> None:
    with pytest.raises(UnknownTemplate, match="short, grüße, last") as error:
        store.get("nope")
    assert error.value.names == ("short", "grüße", "last")


def test_a_missing_file_is_an_empty_store_that_the_first_save_creates(tmp_path: Path) -> None:
    store = TemplateStore(tmp_path / "new.json")
    assert store.all() == {}
    saved = store.save("first", "{prompt}!", base_version=None)
    assert store.all() == {"first": saved}
    assert (tmp_path / "new.json").read_text() == '{\n  "first": "{prompt}!"\n}\n'


def test_a_byte_order_mark_is_skipped(store: TemplateStore) -> None:
    store.path.write_bytes(b"\xef\xbb\xbf" + store.path.read_bytes())
    assert list(store.all()) == ["short", "grüße", "last"]


def test_an_unchanged_file_is_not_read_again(store: TemplateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store.get("short")
    monkeypatch.setattr(templates_module, "parse", lambda *_: pytest.fail("read again"))
    assert store.get("short") is first


def test_an_edit_by_hand_is_seen(store: TemplateStore) -> None:
    store.all()
    store.path.write_text('{"mine": "{prompt}"}')
    assert list(store.all()) == ["mine"]


@pytest.mark.parametrize(
    ("data", "position", "what"),
    [
        (b'{\n  "a": "{prompt}",\n  "b" "x"\n}', "line 3, column 7", "not valid JSON"),
        (b"", "line 1, column 1", "not valid JSON"),
        (b' \n["a"]', "line 2, column 1", "expected an object"),
        (b'{"a": "x",\n "b": 3}', "line 2, column 7", "'b' must be a string"),
        (b'{"a": {"b": "c"}}', "line 1, column 7", "'a' must be a string"),
        (b'{"a": "x, \\" }",\n  "b": "y",\n  "a": "z"}', "line 3, column 3", "'a' occurs twice"),
        (b'{"a":\n "\xff"}', "line 2, column 3", "not valid UTF-8"),
        (b"[" * 100_000, "line 1, column 1", "expected an object"),
        (b"9" * 10_000, "line 1, column 1", "expected an object"),
    ],
)
def test_a_broken_file_is_located_and_left_alone(store: TemplateStore, data: bytes, position: str, what: str) -> None:
    store.path.write_bytes(data)
    for attempt in (store.all, lambda: store.save("x", "{prompt}", base_version=None)):
        with pytest.raises(TemplatesBroken, match=what) as error:
            attempt()
        assert position in str(error.value)
        assert str(store.path) in str(error.value)
    assert store.path.read_bytes() == data


# Writing


def test_a_save_keeps_order_characters_mode_and_the_rest(store: TemplateStore) -> None:
    store.path.chmod(0o640)
    before = store.get("grüße")
    saved = store.save("grüße", "Servus, {prompt}", base_version=before.version)
    assert store.get("grüße") == saved
    assert saved.version != before.version
    assert store.path.read_text("utf-8") == (
        '{\n  "short": "Briefly: {prompt}",\n  "grüße": "Servus, {prompt}",\n  "last": "{prompt} 🙂"\n}\n'
    )
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o640


def test_edits_of_other_templates_meanwhile_are_kept(store: TemplateStore) -> None:
    mine, other = store.get("short"), TemplateStore(store.path)
    other.save("last", "theirs {prompt}", base_version=other.get("last").version)
    store.save("short", "mine {prompt}", base_version=mine.version)
    assert [t.text for t in store.all().values()] == ["mine {prompt}", "Grüße! {prompt}", "theirs {prompt}"]


def test_an_edit_of_the_same_template_meanwhile_is_not_overwritten(store: TemplateStore) -> None:
    base, other = store.get("short").version, TemplateStore(store.path)
    theirs = other.save("short", "theirs {prompt}", base_version=base)
    for attempt in (
        lambda: store.save("short", "mine {prompt}", base_version=base),
        lambda: store.rename("short", "mine", base_version=base),
        lambda: store.delete("short", base_version=base),
    ):
        with pytest.raises(TemplateConflict, match="changed by someone else"):
            attempt()
    assert store.get("short") == theirs


def test_a_template_that_appeared_or_disappeared_is_a_conflict(store: TemplateStore) -> None:
    with pytest.raises(TemplateConflict, match="exists already"):
        store.save("short", "{prompt}", base_version=None)
    base = store.get("last").version
    TemplateStore(store.path).delete("last", base_version=base)
    with pytest.raises(TemplateConflict, match="deleted or renamed"):
        store.save("last", "{prompt}", base_version=base)
    assert list(store.all()) == ["short", "grüße"]


def test_rename_keeps_the_place_and_never_replaces(store: TemplateStore) -> None:
    base = store.get("short").version
    assert store.rename("short", " brief ", base_version=base).text == "Briefly: {prompt}"
    assert list(store.all()) == ["brief", "grüße", "last"]
    with pytest.raises(TemplateConflict, match="'last' exists already"):
        store.rename("brief", "last", base_version=base)
    renamed = store.save("brief", "Now {prompt}", base_version=base, rename_to="now")
    assert store.get("now") == renamed
    assert list(store.all()) == ["now", "grüße", "last"]


def test_delete_removes_one(store: TemplateStore) -> None:
    store.delete("grüße", base_version=store.get("grüße").version)
    assert list(store.all()) == ["short", "last"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a/b", "a\nb", "a{b}", "<b>", "dot."])
def test_a_bad_name_is_refused(store: TemplateStore, name: str) -> None:
    with pytest.raises(BadRequest, match="1 to 60 letters"):
        store.save(name, "{prompt}", base_version=None)


@pytest.mark.parametrize("name", ["a", "x" * 60, "With space-and_more 2", "größe"])
def test_a_good_name_is_taken(store: TemplateStore, name: str) -> None:
    assert store.save(name, "{prompt}", base_version=None).name in store.all()


def test_a_text_without_prompt_or_too_long_is_refused(store: TemplateStore) -> None:
    for text, complaint in (("no place", r"include \{prompt\}"), ("{prompt}" + "x" * 20_000, "at most 20,000")):
        with pytest.raises(BadRequest, match=complaint):
            store.save("new", text, base_version=None)
    assert "new" not in store.all()


def test_an_odd_name_written_by_hand_can_be_edited(store: TemplateStore) -> None:
    store.path.write_text('{"odd/name?": "{prompt}"}')
    store.save("odd/name?", "new {prompt}", base_version=store.get("odd/name?").version)
    assert store.get("odd/name?").text == "new {prompt}"


def test_lone_surrogates_neither_break_the_file_nor_the_save(store: TemplateStore) -> None:
    store.path.write_text('{"escaped": "\\ud800 {prompt}"}')
    store.save("new", "\ud800 {prompt}", base_version=None)
    assert store.get("new").text == "\ufffd {prompt}"
    assert store.get("escaped").text == "\ud800 {prompt}"


def test_a_failing_disk_leaves_the_old_file(store: TemplateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TemplatesBroken, match="No space left"):
        store.save("new", "{prompt}", base_version=None)
    assert store.path.read_bytes() == before
    assert not list(store.path.parent.glob(".*.tmp"))


def test_a_symbolic_link_is_written_through(store: TemplateStore, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(store.path)
    TemplateStore(link).save("new", "{prompt}", base_version=None)
    assert link.is_symlink()
    assert "new" in store.all()


def test_threads_and_processes_that_save_at_once_lose_nothing(store: TemplateStore) -> None:
    program = (
        "import sys; from router.templates import TemplateStore\n"
        "store = TemplateStore(sys.argv[1])\n"
        "for n in range(10): store.save(f'{sys.argv[2]} {n}', '{prompt}', base_version=None)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(store.path), f"process {p}"]) for p in range(2)]

    def save(thread: int) -> None:
        for n in range(10):
            store.save(f"thread {thread} {n}", "{prompt}", base_version=None)

    threads = [threading.Thread(target=save, args=(t,)) for t in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or any(process.poll() is None for process in processes):
        json.loads(store.path.read_text("utf-8"))  # whole at every moment
    assert [process.wait() for process in processes] == [0, 0]
    wanted = {f"{kind} {w} {n}" for kind in ("process", "thread") for w in range(2) for n in range(10)}
    assert wanted <= set(store.all())


# What ships


def test_the_shipped_templates_are_valid_and_useful() -> None:
    shipped = TemplateStore(SHIPPED).all()
    assert len(shipped) >= 8
    assert "friendly" in shipped
    for template in shipped.values():
        assert template.placeholders == ("prompt",)
        assert "{prompt}" not in template.render("x")
    assert '"entities"' in shipped["json_extract"].render("x")


def test_importing_templates_does_not_import_the_lock() -> None:
    program = "import sys; import router.templates; print('filelock' in sys.modules, 'asyncio' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stdout.split()[0] == b"False"
