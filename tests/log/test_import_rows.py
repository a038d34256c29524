"""What an import makes of single rows, and what it says of those that it cannot take."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from router.log.__main__ import main
from router.log.imported import BadValue, to_interaction
from router.log.readers import BadRow, Row, UnreadableFile, open_text, read
from router.log.store import LogStore
from tests.log.support import made_up

_ROW = {"timestamp": "2024-05-01T10:00:00Z", "prompt": "Explain gravity."}

_ATTEMPT = {"provider": "groq", "model": "openai/gpt-oss-20b", "outcome": "ok"}


def _read(data: bytes | str) -> list[Row | BadRow]:
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    buffer = io.BufferedReader(io.BytesIO(raw))  # type: ignore[arg-type]
    with io.TextIOWrapper(buffer, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        return list(read(text))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2024-05-01T10:00:00.123456Z", "2024-05-01T10:00:00.123456Z"),
        ("2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00.000000Z"),
        ("2024-05-01T10:00:00", "2024-05-01T10:00:00.000000Z"),
        ("2024-05-01 10:00:00", "2024-05-01T10:00:00.000000Z"),
        (" 2024-05-01 ", "2024-05-01T00:00:00.000000Z"),
        (1714557600, "2024-05-01T10:00:00.000000Z"),
        ("1714557600.5", "2024-05-01T10:00:00.500000Z"),
    ],
)
def test_a_timestamp_is_kept_in_the_form_of_the_log(given: object, kept: str) -> None:
    assert to_interaction({**_ROW, "timestamp": given}, 1000).timestamp == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"model": "groq"}, ("groq", "groq", "groq")),
        ({"model": "groq:llama3"}, ("groq", "llama3", "groq:llama3")),
        ({"model": "gemini:gemini-2.5-flash"}, ("gemini", "gemini-2.5-flash", "gemini:gemini-2.5-flash")),
        ({"model": "models/gemini-2.5-flash"}, ("gemini", "models/gemini-2.5-flash", "models/gemini-2.5-flash")),
        ({"model": "openai/gpt-oss-20b"}, ("groq", "openai/gpt-oss-20b", "openai/gpt-oss-20b")),
        ({"model": "llama3:8b"}, ("unknown", "llama3:8b", "llama3:8b")),
        ({"model": "groq:x", "provider": "mine", "requested_model": "y"}, ("mine", "groq:x", "y")),
        ({}, ("unknown", "unknown", "unknown")),
    ],
)
def test_a_provider_is_known_only_if_the_model_tells(given: dict[str, str], kept: tuple[str, str, str]) -> None:
    one = to_interaction({**_ROW, **given}, 1000)
    assert (one.provider, one.model, one.requested_model) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"token_count": 30, "prompt_tokens": 10, "completion_tokens": 20}, (30, 10, 20)),
        ({"prompt_tokens": 10, "completion_tokens": 20}, (30, 10, 20)),
        ({"token_count": "30", "prompt_tokens": "10"}, (30, 10, 20)),
        ({"token_count": 30, "completion_tokens": 20}, (30, 10, 20)),
        ({"token_count": 2}, (2, 2, 0)),
        ({"prompt": "a b c", "response": "d e", "tokens": None}, (5, 3, 2)),
    ],
)
def test_tokens_that_are_not_given_are_estimated(given: dict[str, Any], kept: tuple[int, int, int]) -> None:
    one = to_interaction({**_ROW, **given}, 1000)
    assert (one.token_count, one.prompt_tokens, one.completion_tokens) == kept
    assert one.token_source == "heuristic"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("timestamp", value) for value in (None, "", "yesterday", 1e15, -1, float("nan"), True, [1], "9999-99-99")),
        *(("timestamp", value) for value in ("9999-12-31T23:59:59-01:00", "1066-10-14")),
        *(("prompt", value) for value in (None, "", ["a"], 1.5, True)),
        ("response", {"text": "a"}),
        *(("rating", value) for value in (0, 6, 4.5, "five", True)),
        *(("latency", value) for value in (-1, float("nan"), float("inf"), "1e300", "fast", [1], 10**400)),
        *(("token_count", value) for value in (-1, 1.5, 10**10)),
        ("cost_usd", "free"),
        *((name, "x" * 201) for name in ("prompt_id", "model", "provider", "template", "run_id", "finish_reason")),
        ("status", "fine"),
        ("token_source", "guessed"),
        *(("params", value) for value in ([], "{", "7", "[" * 5000)),
        *(("attempts", value) for value in ({}, [1], [{"model": "m"}])),
        *(("attempts", [{**_ATTEMPT, **odd}]) for odd in ({"latency_ms": "x"}, {"x": 1})),
    ],
)  # fmt: skip
def test_a_value_that_the_log_cannot_hold_is_named_in_few_words(column: str, value: object) -> None:
    with pytest.raises(BadValue, match=column) as raised:
        to_interaction({**_ROW, column: value}, 1000)
    assert len(str(raised.value)) < 200
    assert str(raised.value).isprintable()


_BAD_JSON = """[
{"timestamp": 1, "prompt": "first"},
7,
{"timestamp": "soon", "prompt": "bad\\u001b[31m"},
{"timestamp": 2,
 "prompt": "second"},
{"timestamp": 3, "prompt": broken},
{"timestamp": 4, "prompt": "third", "colour": "red", "Colour": "blue"},
{"timestamp": 4, "prompt": "bad", "tokens": 1, "token count": 1},
{"timestamp": 5, "prompt": "fourth", "params": {"a": NaN}},
{"timestamp": 6, "prompt": "cut of"""
_BAD_JSON_TOLD = """\
Line 3: It is not an object.
Line 4: timestamp is 'soon', which is neither ISO 8601 nor seconds, from 1970 on.
Line 7: It is not JSON: Expecting value.
Line 9: It names the column 'token_count' twice.
Line 11: It is cut off.
Left out, because the log has no such column: 'colour'
"""
_BAD_CSV = b"""\
Prompt_ID, Time Stamp ,timestamp,prompt,rating,mood
a,,1,"first
of two lines",5,
b,,1,bad,6,

c,,1,too,few
d,,1,too,,many,cells
e,,1,"quoted"badly,,
f,,1,latin \xe9,,
g,,1,second,,good
h,,1,"cut off,,
"""
_BAD_CSV_TOLD = """\
Line 4: rating is '6', not a number from 1 to 5.
Line 6: It has 5 cells, and the header has 6.
Line 7: It has 7 cells, and the header has 6.
Line 8: It is not CSV: ',' expected after '"'.
Line 9: It is not UTF-8 text.
Line 11: It is not CSV: unexpected end of data.
Left out, because the log has no such column: 'mood', 'time_stamp'
"""


@pytest.mark.parametrize(
    ("content", "prompts", "told"),
    [
        (_BAD_JSON.encode(), ["first", "second", "third", "fourth"], _BAD_JSON_TOLD),
        (_BAD_CSV, ["first\nof two lines", "second"], _BAD_CSV_TOLD),
    ],
)
def test_bad_rows_are_told_by_line_and_the_rest_is_imported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    prompts: list[str],
    told: str,
) -> None:
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "logs"))
    (tmp_path / "in").write_bytes(content)
    assert main(["import", str(tmp_path / "in")]) == 1
    with LogStore(tmp_path / "logs") as store:
        assert [one.prompt for _, one in store.rows()] == prompts
    said = capsys.readouterr()
    assert said.err == told
    bad = told.count("Line")
    assert said.out == f"Imported {len(prompts)} interactions, skipped 0 that were there, {bad} bad rows.\n"


def test_a_file_cut_at_any_byte_gives_every_row_that_is_whole_and_tells_of_the_cut(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        for number in range(4):
            store.append(made_up(prompt=f'"{number}" 東京 \\ {{', rating=number or None))
    whole = (tmp_path / "prompts.json").read_bytes()
    ends = [at + 1 for at in range(len(whole)) if whole.startswith((b"},\n{", b"}\n]"), at)]
    assert len(ends) == 4
    expected = json.loads(whole)
    for cut in range(1, whole.rindex(b"]")):
        found = _read(whole[:cut])
        complete = sum(end <= cut for end in ends)
        assert [row.values for row in found if isinstance(row, Row)] == expected[:complete]
        assert len(found) == complete + 1, "and one that tells"
    assert [row.values for row in _read(whole)] == expected  # type: ignore[union-attr]


def test_items_of_all_sizes_are_read_whole_wherever_they_begin() -> None:
    rows = [{"prompt": "ü" * (n * n * 1000), "timestamp": n, "params": {"n": [n] * n}} for n in range(50)]
    for indent in (None, 2):
        text = json.dumps(rows, ensure_ascii=False, indent=indent)
        assert [row.values for row in _read(text)] == rows  # type: ignore[union-attr]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_that_is_too_long_is_told_once_and_what_follows_is_read(end: str) -> None:
    text = end.join(["prompt,timestamp", "x" * 70_000_000, "short,2024-05-01", ""])
    bad, good = _read(text)
    assert (bad.line, good) == (2, Row(3, {"prompt": "short", "timestamp": "2024-05-01"}))
    assert "field larger than" in bad.reason


def test_an_item_that_is_too_long_is_told_and_what_follows_is_read() -> None:
    text = '{"prompt": "' + "x" * 70_000_000 + '"}\n{"prompt": "short"}\n'
    assert _read(text) == [BadRow(1, "It is longer than 67,108,864 characters."), Row(2, {"prompt": "short"})]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ('{"params": ' + "[" * 100_000 + "]" * 100_000 + "}", "It is nested too deep."),
        ('{"tokens": ' + "9" * 5000 + "}", "It holds a number of thousands of digits."),
    ],
)
def test_an_item_that_python_cannot_hold_is_told_and_what_follows_is_read(item: str, reason: str) -> None:
    assert _read(f'{item}\n{{"prompt": "next"}}') == [BadRow(1, reason), Row(2, {"prompt": "next"})]


def test_params_nested_deeper_than_the_log_can_write_are_a_bad_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "logs"))
    deep = '{"timestamp": 1, "prompt": "deep", "params": {"a": ' + "[" * 700 + "]" * 700 + "}}\n"
    (tmp_path / "in").write_text(deep + '{"timestamp": 1, "prompt": "flat"}\n')
    assert main(["import", str(tmp_path / "in")]) == 1
    assert capsys.readouterr().err == "Line 1: It is nested too deep.\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        ('[{"prompt": "a"}]'.encode("utf-16"), "is not UTF-8"),
        ("prompt,timestamp".encode("utf-16-le"), "is not UTF-8"),
        (b"PAR1\x15\x04\x15", "is a Parquet file"),
        (b"prompt;timestamp\na;1\n", "'prompt'"),
        (b"prompt,answer\na,b\n", "'timestamp'"),
        (b"prompt,timestamp,tokens,token count\n", "'token_count' twice"),
    ],
)
def test_a_file_that_is_no_log_is_refused_as_a_whole(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        _read(data)


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_reading_needs_little_memory_however_long_the_file_is(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "in"
    with file.open("w") as lines:
        lines.write("[" if kind == "json" else "timestamp,prompt\n")
        for number in range(400):
            text = "x" * 100_000
            lines.write(
                ("," if number else "") + f'{{"timestamp": 1, "prompt": "{text}"}}' if kind == "json" else f"1,{text}\n"
            )
        lines.write("]" if kind == "json" else "")
    with open_text(file) as opened:
        tracemalloc.start()
        count = sum(1 for row in read(opened) if isinstance(row, Row))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 400
    assert peak < 8_000_000
