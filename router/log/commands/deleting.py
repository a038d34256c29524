"""`python -m router.log delete`: takes interactions out for good."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import sqlalchemy as sa

from router.errors import LogUnavailable
from router.log.commands.wording import counted, tell
from router.log.filter import Filter
from router.log.schema import interactions
from router.log.store import LogStore

_IDS_AT_A_TIME = 500


def run(store: LogStore, before: str | None, prompt_ids: Sequence[str], *, ask: bool) -> int:
    """Delete what came in before a moment (ISO 8601 UTC), or what has one of these ids.

    ask: have the person at the terminal confirm it.
    Returns the exit code. Raises LogUnavailable.
    """
    store.finish_salvage()
    unknown = _unknown(store, prompt_ids)
    for prompt_id in unknown:
        tell(f"No interaction has the prompt_id {prompt_id!r}.")
    found = store.count(Filter(until=before)) if before else len(set(prompt_ids)) - len(unknown)
    if ask and found and not _confirmed(f"Delete {counted(found, 'interaction')}? [y/N] "):
        tell("Nothing was deleted.")
        return 1
    deleted = store.delete(before=before, prompt_ids=prompt_ids)
    erased = _erase_remains(store)
    store.wait_for_files()
    print(f"Deleted {counted(deleted, 'interaction')}.", flush=True)  # when nothing is left that could fail
    if aside := store.set_aside():
        tell(f"These files were set aside earlier and can hold what was deleted: {', '.join(map(str, aside))}")
    return 0 if erased and not unknown else 1


def _erase_remains(store: LogStore) -> bool:
    try:
        if store.erase_remains():
            return True
        tell("Another program was reading the log, so prompts.db-wal can still hold what was deleted.")
    except LogUnavailable as error:
        tell(f"The database file could not be rewritten and can still hold what was deleted. {error}")
    tell("To have it gone, run delete again later.")
    return False


def _unknown(store: LogStore, prompt_ids: Sequence[str]) -> list[str]:
    known: set[str] = set()
    for at in range(0, len(prompt_ids), _IDS_AT_A_TIME):
        some = sa.select(interactions.c.prompt_id).where(
            interactions.c.prompt_id.in_(prompt_ids[at : at + _IDS_AT_A_TIME])
        )
        known.update(row.prompt_id for row in store.read(some))
    return [prompt_id for prompt_id in dict.fromkeys(prompt_ids) if prompt_id not in known]


def _confirmed(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
