"""A rehearsal's outcome as a file: JSON for programs, HTML with the time line as a picture for people."""

from __future__ import annotations

import os
from pathlib import Path

from imgfix.errors import UsageError
from imgfix.rehearsal import outcome
from imgfix.rehearsal.rehearse import Result
from imgfix.reports.html import rehearsal_page

_SUFFIXES = (".json", ".html")


def require_writable(path: Path) -> None:
    """Raise UsageError before anything starts if the report cannot be written there."""
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"{path}: a report is .json or .html", hint="name it so: --report rehearsal.html")
    # is_dir of pathlib would raise where the way there is not open to this user.
    if not os.path.isdir(path.parent):  # noqa: PTH112
        raise UsageError(f"{path}: the folder {path.parent} does not exist", hint="make it, or name another")
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise UsageError(f"{path}: no permission to write in {path.parent}", hint="name another folder")


def write(path: Path, result: Result) -> None:
    """Write the report; raises UsageError where the file cannot be written."""
    found = outcome.model(result)
    text = found.model_dump_json(indent=2) + "\n" if path.suffix == ".json" else rehearsal_page(found)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: the report cannot be written: {error.strerror}") from error
