"""`python -m router.log export`: the log or a part of it, whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router.log.formats import FILE_COLUMNS
from router.log.store import LogStore
from tests.log.conftest import Command, OpenStore
from tests.log.support import made_up

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def log(open_store: OpenStore) -> LogStore:
    """Five interactions, whose prompt_ids are letters."""
    store = open_store()
    for one in (
        made_up(prompt_id="a", timestamp="2026-10-01T10:00:00.000000Z", model="m1", rating=5),
        made_up(prompt_id="b", timestamp="2026-10-02T10:00:00.000000Z", model="m2", status="fallback", template=None),
        made_up(prompt_id="c", timestamp="2026-10-02T10:00:00.500000Z", model="m3", run_id="other"),
        made_up(prompt_id="d", timestamp="2026-10-03T10:00:00.000000Z", provider="gemini", rating=1, prompt="=東京\n"),
        made_up(prompt_id="e", timestamp="2026-10-04T10:00:00.000000Z", status="error", cost_usd=None, ttft_ms=None),
    ):
        store.append(one)
    store.flush()
    return store


@pytest.mark.parametrize("name", ["prompts.csv", "prompts.json"])
def test_a_full_export_is_the_file_of_the_log(command: Command, log: LogStore, tmp_path: Path, name: str) -> None:
    whole = (tmp_path / name).read_bytes()
    assert command("export", "--format", name[8:]) == (0, whole, "")
    assert command("export", "--format", name[8:], "--output", "-").out == whole
    (tmp_path / "out").write_text("an earlier export")
    assert command("export", "--format", name[8:], "--output", tmp_path / "out") == (0, b"", "")
    assert (tmp_path / "out").read_bytes() == whole
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


@_ON_SQLITE
def test_an_export_keeps_who_may_read_the_file_it_replaces(command: Command, log: LogStore, tmp_path: Path) -> None:
    (tmp_path / "out").touch(mode=0o600)
    assert command("export", "--format", "csv", "--output", tmp_path / "out").code == 0
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


@_ON_SQLITE
@pytest.mark.parametrize("name", ["prompts.json", "prompts.csv", "prompts.db", ".prompts.json.state", ".mirror.lock"])
def test_an_export_does_not_take_the_place_of_the_logs_own_files(
    command: Command, log: LogStore, tmp_path: Path, name: str
) -> None:
    done = command("export", "--format", "csv", "--output", tmp_path / name)
    assert (done.code, done.out) == (1, b"")
    assert "belongs to the log itself" in done.said


@_ON_SQLITE
def test_an_export_to_a_closed_output_says_so(log: LogStore, tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m router.log export --format csv >&-",
        shell=True,
        env={**os.environ, "LOG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "The standard output is closed: name a file with --output.\n")


@_ON_SQLITE
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--since 2026-10-02", "bcde"),
        ("--until 2026-10-02", "a"),
        ("--since 2026-10-02T10:00:00 --until 2026-10-02T10:00:00.5", "b"),
        ("--since 2026-10-02T12:00:00.5+02:00", "cde"),
        ("--model m1 m2", "ab"),
        ("--model m1 --model m3", "ac"),
        ("--provider gemini", "d"),
        ("--status error fallback", "be"),
        ("--run other", "c"),
        ("--template friendly", "acde"),
        ("--template ", "b"),
        ("--rating 1 5", "ad"),
        ("--rated", "ad"),
        ("--unrated --provider groq", "bce"),
        ("--text 東京", "d"),
        ("--text nothing", ""),
    ],
)
def test_an_export_holds_what_passes_every_filter(command: Command, log: LogStore, options: str, expected: str) -> None:
    done = command("export", "--format", "json", *options.split(" "))
    assert "".join(row["prompt_id"] for row in json.loads(done.out)) == expected


def test_a_parquet_file_has_every_column_in_its_own_type(command: Command, log: LogStore, tmp_path: Path) -> None:
    assert command("export", "--format", "parquet", "--output", tmp_path / "log.parquet") == (0, b"", "")
    table = pq.read_table(tmp_path / "log.parquet")
    assert table.column_names == list(FILE_COLUMNS)
    assert table.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("rating").type == pa.int8()
    assert {table.schema.field(name).type for name in ("latency_ms", "ttft_ms", "cost_usd")} == {pa.float64()}
    assert table.schema.field("token_count").type == pa.int64()
    assert table.schema.field("params").type == pa.string()
    exact = json.loads((tmp_path / "prompts.json").read_bytes())
    for found, row in zip(table.to_pylist(), exact, strict=True):
        assert found.pop("timestamp").isoformat(timespec="microseconds").replace("+00:00", "Z") == row.pop("timestamp")
        assert {name: json.loads(found.pop(name)) for name in ("params", "attempts")} == {
            name: row.pop(name) for name in ("params", "attempts")
        }
        assert found == row


@_ON_SQLITE
def test_a_parquet_file_of_many_or_long_rows_has_several_groups(
    command: Command, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(mirror=False)
    empty = tmp_path / "empty.parquet"
    assert command("export", "--format", "parquet", "--output", empty).code == 0
    assert pq.read_table(empty).num_rows == 0
    for number in range(8):
        store.append(made_up(response=f"{number}" * 10_000_000))
    assert command("export", "--format", "parquet", "--output", tmp_path / "out.parquet").code == 0
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert (file.metadata.num_rows, file.num_row_groups) == (8, 2)
    assert [text[0] for text in file.read(["response"])["response"].to_pylist()] == list("01234567")


@_ON_SQLITE
@pytest.mark.parametrize("file_format", ["csv", "json", "parquet"])
def test_an_export_that_fails_leaves_the_earlier_file_and_nothing_else(
    open_store: OpenStore, tmp_path: Path, file_format: str
) -> None:
    store = open_store(mirror=False)
    for _ in range(50):
        store.append(made_up(response=os.urandom(10_000).hex()))
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "out").write_text("an earlier export")
    limited = 'ulimit -f 200; exec "$0" "$@"'  # in KB: a disk that is soon full
    done = subprocess.run(
        [
            "bash",
            "-c",
            limited,
            sys.executable,
            *f"-m router.log export --format {file_format} --output".split(),
            "out",
        ],
        env={**os.environ, "LOG_DIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "out: File too large\n")
    assert [path.name for path in folder.iterdir()] == ["out"]
    assert (folder / "out").read_text() == "an earlier export"


@_ON_SQLITE
def test_a_reader_that_has_seen_enough_ends_an_export_quietly(command: Command, log: LogStore, tmp_path: Path) -> None:
    for _ in range(20):
        log.append(made_up(response="x" * 100_000))
    exporting = subprocess.Popen(
        [sys.executable, "-m", "router.log", "export", "--format", "csv"],
        env={**os.environ, "LOG_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert exporting.stdout is not None
    assert exporting.stderr is not None
    assert exporting.stdout.readline().startswith(b"prompt_id,")
    exporting.stdout.close()
    assert (exporting.wait(timeout=30), exporting.stderr.read()) == (0, b"")
    exporting.stderr.close()


@_ON_SQLITE
def test_a_pipe_is_written_to_and_stays_a_pipe(command: Command, log: LogStore, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        assert command("export", "--format", "csv", "--output", pipe).code == 0
        assert reader.communicate(timeout=30)[0] == (tmp_path / "prompts.csv").read_bytes()
    assert pipe.is_fifo()


@_ON_SQLITE
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--format parquet", 2, "needs --output"),
        ("--format parquet --output -", 2, "needs --output"),
        ("--format xml", 2, "invalid choice"),
        ("", 2, "--format"),
        ("--format csv --since yesterday", 2, "no date"),
        ("--format csv --rating 6", 2, "invalid choice"),
        ("--format csv --rated --unrated", 2, "not allowed"),
        ("--format csv --output nowhere/out.csv", 1, "nowhere/out.csv: No such file or directory"),
        ("--format csv --output .", 1, "Is a directory"),
    ],
)
def test_what_cannot_be_exported_is_told_and_changes_nothing(
    command: Command, log: LogStore, tmp_path: Path, options: str, code: int, message: str
) -> None:
    before = (tmp_path / "prompts.json").read_bytes()
    done = command("export", *options.format(log=tmp_path).split())
    assert done.code == code
    assert message in done.said.splitlines()[-1]
    assert (tmp_path / "prompts.json").read_bytes() == before
    assert log.count() == 5
