"""Writing reports: the form by the file's name, the file whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from imgfix.disk.fault import host_errors
from imgfix.errors import HostError, UsageError
from imgfix.reports.html import page
from imgfix.reports.model import Report


def as_json(report: Report) -> str:
    """Return the report as JSON; ASCII only, so that no text of a guest can drive the terminal that shows it."""
    return json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=True) + "\n"


#: The forms, by the end of the file's name.
FORMS: Mapping[str, Callable[[Report], str]] = {".json": as_json, ".html": page, ".htm": page}


def require_writable(paths: Sequence[Path], taken: Sequence[Path]) -> None:
    """Refuse what could not be written at the end, before anything is done; `taken` are the disks.

    Raises UsageError and HostError.
    """
    for path in paths:
        if path.suffix.lower() not in FORMS:
            raise UsageError(
                f"{path}: the end of a report's name says what it becomes: .json or .html",
                hint=f"for example --report {path.with_suffix('.html')}",
            )
        if any(_same(path, other) for other in taken):
            raise UsageError(f"{path}: the report would replace the disk", hint="give it another name")
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: exists and is not a regular file; a report must be one")
        folder = path.absolute().parent
        if not folder.is_dir():
            raise UsageError(
                f"{folder}: there is no such folder, needed for the report", hint=f"mkdir -p {folder}"
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise HostError(f"{folder}: no permission to write there, needed for the report {path.name}")


def _same(path: Path, other: Path) -> bool:
    with suppress(OSError):
        return path.resolve() == other.resolve() or (path.exists() and path.samefile(other))
    return False


def write(report: Report, path: Path) -> None:
    """Write the report to `path` as its name says, replacing a file that is there. Raises HostError."""
    text = FORMS[path.suffix.lower()](report)
    target = path.resolve()
    with host_errors("writing the report", path, needed=len(text)):
        fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(_mode())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _mode() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask
