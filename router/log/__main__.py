"""`python -m router.log import|export|delete`: the log from the command line."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from router.errors import RouterError
from router.log.commands import deleting, exporting, importing
from router.log.commands.arguments import parse
from router.log.commands.wording import tell
from router.log.filter import Filter
from router.log.readers import UnreadableFile, open_text, read
from router.log.store import LogStore
from router.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, as `sys.argv` says by default. Returns the exit code; a wrong usage exits with 2."""
    given = parse(arguments)
    try:
        settings = Settings.from_env()
        if given.command == "import":
            return _import(settings, given)
        if given.command == "export":
            return _export(settings, given)
        with _log(settings) as store:
            ask = not given.yes and sys.stdin.isatty()
            return deleting.run(store, given.before, given.prompt_id, ask=ask)
    except RouterError as error:
        tell(" ".join(str(error).split()))  # a database can have more than one line to say
    except OSError as error:
        tell(f"{error.filename or 'Failed'}: {error.strerror or error}")
    except KeyboardInterrupt:
        tell("Stopped.")
        return importing.INTERRUPTED
    return 1


def _import(settings: Settings, given: Namespace) -> int:
    # Opened before the log: it may be the log's own file of another database, which the log gives another name.
    with open_text(given.file) as text:
        try:
            rows = read(text)
        except UnreadableFile as error:
            tell(f"{given.file} {error}")
            return 1
        with _log(settings) as store:
            unit_ms = importing.LATENCY_UNITS_MS[given.latency_unit]
            return importing.run(store, rows, unit_ms, importing.Progress(text.fileno()))


def _export(settings: Settings, given: Namespace) -> int:
    with _log(settings, mirror=False) as store:
        if given.output and store.owns(given.output):
            tell(f"{given.output} belongs to the log itself. Choose another name.")
            return 1
        where = Filter(
            since=given.since,
            until=given.until,
            models=tuple(given.model),
            providers=tuple(given.provider),
            statuses=tuple(given.status),
            runs=tuple(given.run),
            templates=tuple(name or None for name in given.template),
            ratings=tuple(given.rating),
            rated=given.rated,
            text=given.text,
        )
        return exporting.run(store, given.format, given.output, where)


@contextmanager
def _log(settings: Settings, *, mirror: bool = True) -> Iterator[LogStore]:
    with LogStore(settings.log_dir, settings.database_url, mirror=mirror) as store:
        yield store
        if notice := store.status().notice:
            tell(notice)


if __name__ == "__main__":
    sys.exit(main())
