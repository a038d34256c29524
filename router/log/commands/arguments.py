"""What can be said to `python -m router.log`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from router.log.commands import exporting, importing
from router.log.imported import moment
from router.log.rows import clean
from router.types import Status

_IMPORT = """\
Add the interactions of a file to the log: a prompts.json (one JSON array, or one object per line) or a prompts.csv,
told apart by their content. A log of this program is taken with all its columns. Another needs the columns timestamp
and prompt, and can have model, response, latency, token count, prompt_id and rating.

Times are ISO 8601 (UTC, unless they name an offset) or seconds since 1970. What a row does not say stays unknown, or
is as modest as can be: status ok, tokens by the heuristic. A row without a prompt_id gets one made of what it says.
An interaction whose prompt_id is in the log already is skipped, so the same file can be imported again.

Rows that cannot be read are told by line, the others are imported; the exit code is then 1."""
_EXPORT = """\
Write the log, or the part that passes all of the filters, as one file. CSV and JSON are as prompts.csv and
prompts.json; Parquet has every column in its own type. A file is put in place when it is complete."""
_DELETE = """\
Delete interactions for good: from the table, from prompts.json and from prompts.csv, which are then written anew.

With SQLite the database file is rewritten too, so that none of the files of the log holds the text any more; this
takes time and room in proportion to the log. In PostgreSQL the text is out of reach at once, and out of the server's
files when autovacuum and the server's own log of changes have come round to it.
Where other machines follow the same PostgreSQL, their files are written anew as soon as the app runs there.
What other interactions quote (as the history of a conversation, for example) stays, and so do the texts of templates.
Asks first when it is started from a terminal."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command and its options, from `sys.argv` when None. Exits with 2 and a message where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m router.log",
        description="The log of interactions. LOG_DIR and DATABASE_URL, in .env or the environment, say where it is.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="import|export|delete")
    for name, summary, description, add_options in (
        ("import", "add the interactions of a file", _IMPORT, _add_import_options),
        ("export", "write the log, or a part of it, as a file", _EXPORT, _add_export_options),
        ("delete", "delete interactions for good", _DELETE, _add_delete_options),
    ):
        command = commands.add_parser(
            name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add_options(command)
    given = parser.parse_args(arguments)
    if given.command == "export" and given.format == "parquet" and given.output is None:
        parser.error("a Parquet file needs --output FILE")
    return argparse.Namespace(**clean(vars(given)))


def _add_import_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", type=Path, help="a prompts.json or prompts.csv, in UTF-8")
    command.add_argument(
        "--latency-unit",
        choices=[*importing.LATENCY_UNITS_MS],
        default="s",
        help="unit of a column named latency (default: s); latency_ms is always in milliseconds",
    )


def _add_export_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", required=True, choices=exporting.FORMATS)
    command.add_argument(
        "--output",
        metavar="FILE",
        type=lambda text: None if text == "-" else Path(text),
        help="where to write; - for the standard output (default, not for parquet)",
    )
    command.add_argument("--since", metavar="DATE", type=_date, help="from this date or date and time on, UTC")
    command.add_argument("--until", metavar="DATE", type=_date, help="before this date or date and time, UTC")
    several: dict[str, Any] = {"action": "extend", "nargs": "+", "default": []}
    command.add_argument("--model", **several, help="any of these models")
    command.add_argument("--provider", **several, help="any of these providers")
    command.add_argument("--status", **several, choices=get_args(Status), help="any of these")
    command.add_argument("--run", metavar="RUN_ID", **several, help="any of these runs of Compare")
    command.add_argument("--template", **several, help='any of these templates; "" for none')
    command.add_argument("--rating", **several, type=int, choices=range(1, 6), help="any of these ratings")
    rated = command.add_mutually_exclusive_group()
    rated.add_argument("--rated", dest="rated", action="store_true", default=None, help="only with a rating")
    rated.add_argument("--unrated", dest="rated", action="store_false", default=None, help="only without a rating")
    command.add_argument("--text", help="what the prompt or the response contains, upper and lower case alike")


def _add_delete_options(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--before", metavar="DATE", type=_past_date, help="what came in before this date or date and time, UTC"
    )
    which.add_argument(
        "--prompt-id", metavar="ID", action="extend", nargs="+", default=[], help="what has one of these ids"
    )
    command.add_argument("--yes", action="store_true", help="do not ask")


def _date(text: str) -> str:
    """As the log's timestamps begin, so that it can be compared with them as text."""
    return _moment(text).replace(tzinfo=None).isoformat()


def _past_date(text: str) -> str:
    if _moment(text) > datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"{text!r} is in the future")
    return _date(text)


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date or date and time such as 2026-10-01 or 2026-10-01T12:00"
        ) from None
