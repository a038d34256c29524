"""Prompt templates: a JSON file that maps a name to a text with `{prompt}` in it.

Reading is cheap (one `stat` while the file is unchanged) and tolerates edits by hand. Writing is atomic, and
optimistic: the caller says which version it had read, and nothing is overwritten if someone else was faster.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from router.errors import BadRequest, TemplateConflict, TemplatesBroken, UnknownTemplate
from router.templates_file import dump, parse
from router.text import clean_text

MAX_NAME_CHARS = 60
MAX_TEXT_CHARS = 20_000
LOCK_TIMEOUT_S = 10.0

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(rf"[\w -]{{1,{MAX_NAME_CHARS}}}")


@dataclass(frozen=True)
class Template:
    """A named text. Braces that hold no identifier, such as those of JSON, are ordinary characters."""

    name: str
    text: str

    @cached_property
    def version(self) -> str:
        """The first 12 hex digits of the SHA-256 of the text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @cached_property
    def placeholders(self) -> tuple[str, ...]:
        """The identifiers that stand in braces, each once, in order; `prompt` among them."""
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.text)))

    def render(self, prompt: str, variables: Mapping[str, object] | None = None) -> str:
        """The text to send: `{prompt}` and each `{key}` of `variables` replaced, in one pass.

        What has been put in is never looked at again, and everything else stays literal: a placeholder without
        a value, `{prompt.__class__}`, and the outer braces of `{{prompt}}`.
        Raises BadRequest when the text has no `{prompt}` (the prompt would be lost) or a variable takes its name.
        """
        if "prompt" not in self.placeholders:
            raise BadRequest(f"Template {self.name!r} has no {{prompt}} placeholder. Put {{prompt}} where it belongs.")
        values = {key: str(value) for key, value in (variables or {}).items()}
        if "prompt" in values:
            raise BadRequest("A variable cannot be named 'prompt': that placeholder holds the prompt itself.")
        values["prompt"] = prompt
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), self.text)


class TemplateStore:
    """The templates of one file. Any number of threads, processes and stores may use the same file.

    A missing file is an empty store; the first save creates it. Every method raises TemplatesBroken when the file
    cannot be read (with line and column when it is no valid JSON) or written, and leaves it alone.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._cached: tuple[tuple[int, int, int], dict[str, Template]] | None = None

    def all(self) -> dict[str, Template]:
        """Every template by name, in the order of the file."""
        return dict(self._read())

    def get(self, name: str) -> Template:
        """The template of that name. Raises UnknownTemplate, which lists the names."""
        templates = self._read()
        if name not in templates:
            raise UnknownTemplate(name, tuple(templates))
        return templates[name]

    def save(self, name: str, text: str, *, base_version: str | None, rename_to: str | None = None) -> Template:
        """Create a template (`base_version=None`) or replace the one that had `base_version` when it was read.

        rename_to: its new name, changed in the same step; its place in the file stays.
        Raises TemplateConflict when it changed, appeared or disappeared meanwhile, or the new name is taken;
        BadRequest when the text lacks `{prompt}` or the name or text breaks the rules.
        """
        text = _checked_text(text)
        with self._editing() as templates:
            _check_base(templates, name, base_version)
            saved = Template(_new_name(templates, name if rename_to is None else rename_to, name), text)
            _put(templates, name, saved)
        return saved

    def rename(self, name: str, new_name: str, *, base_version: str) -> Template:
        """Give a template another name; its text and its place in the file stay. Raises as `save` does."""
        with self._editing() as templates:
            _check_base(templates, name, base_version)
            renamed = Template(_new_name(templates, new_name, name), templates[name].text)
            _put(templates, name, renamed)
        return renamed

    def delete(self, name: str, *, base_version: str) -> None:
        """Remove a template. Raises TemplateConflict when it is not the version that was read."""
        with self._editing() as templates:
            _check_base(templates, name, base_version)
            del templates[name]

    def _read(self) -> dict[str, Template]:
        try:
            if self._cached is not None and self._cached[0] == _identity(os.stat(self.path)):
                return self._cached[1]
            with self.path.open("rb") as file:
                identity, data = _identity(os.fstat(file.fileno())), file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise TemplatesBroken(f"{self.path} cannot be read: {error.strerror or error}.") from error
        templates = {name: Template(name, text) for name, text in parse(data, self.path).items()}
        self._cached = (identity, templates)
        return templates

    @contextmanager
    def _editing(self) -> Iterator[dict[str, Template]]:
        """The templates as they are on disk now, for the block to change; written when it ends without an error."""
        # Through a symbolic link to the file it names: replacing the link would leave that file behind.
        target = Path(os.path.realpath(self.path))
        try:
            with _locked(target):
                self._cached = None  # an edit within one clock tick of the last read must not be missed here
                templates = self.all()
                yield templates
                _replace(target, dump({name: t.text for name, t in templates.items()}))
        except OSError as error:
            raise TemplatesBroken(f"{self.path} cannot be written: {error.strerror or error}.") from error


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _put(templates: dict[str, Template], name: str, template: Template) -> None:
    """Store `template` in the place of `name`, or at the end when there is none."""
    items = [(template.name, template) if old == name else (old, t) for old, t in templates.items()]
    templates.clear()
    templates.update(items)
    templates.setdefault(template.name, template)


def _check_base(templates: Mapping[str, Template], name: str, base_version: str | None) -> None:
    found = templates.get(name)
    if base_version is None and found is not None:
        raise TemplateConflict(f"A template named {name!r} exists already. Nothing was saved; choose another name.")
    if base_version is not None and found is None:
        raise TemplateConflict(
            f"Template {name!r} was deleted or renamed by someone else meanwhile. Nothing was saved."
        )
    if found is not None and found.version != base_version:
        raise TemplateConflict(
            f"Template {name!r} was changed by someone else meanwhile (now version {found.version}, "
            f"you had {base_version}). Nothing was saved; reload it and apply your change again."
        )


def _new_name(templates: Mapping[str, Template], name: str, old_name: str) -> str:
    """The name to store under. One that the file holds already, however odd, may stay as it is."""
    if name == old_name and name in templates:
        return name
    name = unicodedata.normalize("NFC", name.strip())
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"A template name has 1 to {MAX_NAME_CHARS} letters, digits, spaces, hyphens or underscores; "
            f"{name[: MAX_NAME_CHARS + 1]!r} does not fit."
        )
    if name != old_name and name in templates:
        raise TemplateConflict(f"A template named {name!r} exists already. Nothing was saved; choose another name.")
    return name


def _checked_text(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS:
        raise BadRequest(f"A template has at most {MAX_TEXT_CHARS:,} characters; this one has {len(text):,}.")
    if "prompt" not in _PLACEHOLDER.findall(text):
        raise BadRequest("The template does not include {prompt}. Put {prompt} where the user's prompt belongs.")
    return clean_text(text)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    # Imported here: it brings asyncio along, which readers of templates need not pay for.
    from filelock import FileLock, Timeout

    try:
        # The target's folder, so that every path to the file, through whatever link, meets the same lock.
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise TemplateConflict(
            f"Someone else has been saving {target.name} for {LOCK_TIMEOUT_S:g} s. Nothing was saved; try again."
        ) from error


def _replace(target: Path, data: bytes) -> None:
    """Put `data` in the place of the file in one step: a reader, or a crash, finds the old or the new, never half."""
    # One name is enough under the lock, and what a crash left behind is overwritten.
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened; there the rename itself has to do
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
