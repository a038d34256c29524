from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from router.log.schema import started
from router.log.store import LogStore
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.log.conftest import OpenStore
from tests.log.support import assert_files_equal_table, in_csv, in_json, made_up, wait_until

_WRITERS = """
import sys, threading
from pathlib import Path
from router.log.store import LogStore
from tests.log.support import made_up

log_dir, url, writes = Path(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])
with LogStore(log_dir, url) as store:
    def write():
        for number in range(writes):
            one = made_up(response="ü" * (number % 50))
            store.append(one)
            store.rate(one.prompt_id, 1 + number % 5)
    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert store.status().ok and store.status().lost == 0, store.status()
"""

_ACKNOWLEDGING = """
import sys
from pathlib import Path
from router.log.store import LogStore
from tests.log.support import made_up

store = LogStore(Path(sys.argv[1]))
number = 0
while True:
    one = made_up(response="x" * (1000 if number % 7 else 200_000))
    store.append(one)
    print(one.prompt_id, "appended", flush=True)
    if number % 3 == 0:
        store.rate(one.prompt_id, 5)
        print(one.prompt_id, "rated", flush=True)
    number += 1
"""

_STREAMING = """
import sys
from pathlib import Path
from router import Router, Settings
from router.settings import Secret

log_dir, groq_url, how = sys.argv[1:]
router = Router(Settings(groq_api_key=Secret("a-key"), groq_api_url=groq_url, log_dir=Path(log_dir)))
if how == "stream":
    for piece in router.stream("What was asked", conversation_id="c"):
        print(piece, flush=True)
else:
    router.chat("What was asked", conversation_id="c")
"""

_FORKS = """
import os, sys
from pathlib import Path
from router.log.store import LogStore
from tests.log.support import in_json, made_up, wait_until

store = LogStore(Path(sys.argv[1]), sys.argv[2] or None)
store.append(made_up(prompt_id="before"))
child = os.fork()
who = "parent" if child else "child"
for number in range(20):
    one = made_up(prompt_id=f"{who}-{number}")
    store.begin(one, None, lasts_s=60)
    store.keep(one.prompt_id)
    store.append(one)
assert store.status().ok, store.status()
wait_until(lambda: f"{who}-19" in {row["prompt_id"] for row in in_json(Path(sys.argv[1]))}, within_s=10)
if child:
    assert os.waitpid(child, 0)[1] == 0
    store.close()
os._exit(0)
"""

_FORKS_WHILE_OTHERS_WRITE = """
import os, sys, threading
from pathlib import Path
from router.log.store import LogStore
from tests.log.support import made_up

store = LogStore(Path(sys.argv[1]), busy_timeout_s=1)
over = threading.Event()
def write():
    while not over.is_set():
        store.append(made_up())
writers = [threading.Thread(target=write) for _ in range(2)]
for writer in writers: writer.start()
for number in range(8):
    child = os.fork()
    if not child:
        store.append(made_up(prompt_id=f"child-{number}"))
        os._exit(0 if store.status().ok else 1)
    assert os.waitpid(child, 0)[1] == 0, number
over.set()
for writer in writers: writer.join()
store.close()
"""

_EXITS_WITHOUT_CLOSING = """
import sys
from pathlib import Path
from router.log.store import LogStore
from tests.log.support import made_up

store = LogStore(Path(sys.argv[1]))
store.append(made_up(prompt_id="last"))
"""


def _python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_many_threads_and_processes_write_at_once_and_nothing_is_lost(
    open_store: OpenStore, database_url: str | None, tmp_path: Path
) -> None:
    writers = [_python(_WRITERS, tmp_path, database_url or "", 40, stderr=subprocess.PIPE) for _ in range(3)]
    for writer in writers:
        _, said = writer.communicate(timeout=90)
        assert writer.returncode == 0, said
    store = open_store()
    store.flush()
    rows = [row.interaction for row in store.rows()]
    assert len(rows) == 3 * 2 * 40
    assert all(row.rating for row in rows)
    assert_files_equal_table(store, tmp_path)


@pytest.mark.parametrize("acknowledgements", [20, 90, 200])
def test_nothing_acknowledged_is_lost_when_writers_are_killed(tmp_path: Path, acknowledgements: int) -> None:
    writers = [_python(_ACKNOWLEDGING, tmp_path, stdout=subprocess.PIPE) for _ in range(2)]
    said: list[str] = []
    for _ in range(acknowledgements):
        said += [writer.stdout.readline() for writer in writers]  # type: ignore[union-attr]
    wait_until((tmp_path / "prompts.csv").exists, within_s=5)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
    for writer in writers:
        said += writer.communicate()[0].splitlines()
    in_json(tmp_path)
    in_csv(tmp_path)

    acknowledged = [line.split() for line in said if line.endswith(("appended", "appended\n", "rated", "rated\n"))]
    with LogStore(tmp_path) as store:
        kept = {row.interaction.prompt_id: row.interaction.rating for row in store.rows()}
        assert {prompt_id for prompt_id, _ in acknowledged} <= kept.keys()
        assert all(kept[prompt_id] == 5 for prompt_id, what in acknowledged if what == "rated")
        store.flush()
        assert_files_equal_table(store, tmp_path)


@pytest.mark.parametrize("trial", range(5))
def test_a_prompt_whose_process_is_killed_in_mid_answer_is_kept(
    tmp_path: Path, faults: FaultServer, trial: int
) -> None:
    faults.script("groq", Fault.hang(1 + trial))
    process = _python(_STREAMING, tmp_path, faults.groq_url, "stream", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "one \n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with LogStore(tmp_path) as store:
        (kept,) = store.conversation("c")
        assert (kept.status, kept.prompt, kept.requested_model) == ("interrupted", "What was asked", "groq")
        store.flush()
        assert_files_equal_table(store, tmp_path)


def test_a_prompt_whose_process_is_killed_while_it_waits_is_kept(tmp_path: Path, faults: FaultServer) -> None:
    faults.script("groq", Fault.hang())
    process = _python(_STREAMING, tmp_path, faults.groq_url, "chat")
    faults.wait_for("request", "groq")
    with LogStore(tmp_path) as watching:
        wait_until(lambda: len(watching.read(sa.select(started))) == 1, within_s=10)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with LogStore(tmp_path) as store:
        (kept,) = store.conversation("c")
        assert (kept.status, kept.prompt) == ("interrupted", "What was asked")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork.")
def test_a_forked_process_writes_for_itself(open_store: OpenStore, database_url: str | None, tmp_path: Path) -> None:
    process = _python(_FORKS, tmp_path, database_url or "", stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    store = open_store()
    expected = {"before"} | {f"{who}-{number}" for who in ("parent", "child") for number in range(20)}
    assert {row.interaction.prompt_id for row in store.rows()} == expected
    store.flush()
    assert_files_equal_table(store, tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork.")
def test_a_process_that_is_forked_while_other_threads_write_can_write(tmp_path: Path) -> None:
    process = _python(_FORKS_WHILE_OTHERS_WRITE, tmp_path, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    with LogStore(tmp_path, mirror=False) as store:
        assert {f"child-{number}" for number in range(8)} <= {row.interaction.prompt_id for row in store.rows()}


def test_a_script_that_ends_without_closing_leaves_its_files_up_to_date(tmp_path: Path) -> None:
    assert _python(_EXITS_WITHOUT_CLOSING, tmp_path).wait(timeout=30) == 0
    assert [row["prompt_id"] for row in in_json(tmp_path)] == ["last"]


def test_an_outside_reader_never_meets_an_invalid_file_while_others_write(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        store.append(made_up())
        store.flush()
    writer = _python(_WRITERS, tmp_path, "", 400)
    counts: list[int] = []
    while writer.poll() is None:
        counts.append(len(in_json(tmp_path)))
        in_csv(tmp_path)
    assert writer.returncode == 0
    assert counts == sorted(counts), "rows never disappear"
    assert len(set(counts)) > 3, "the files followed while rows were being written"
