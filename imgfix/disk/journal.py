"""The journal of a change in place: what completes it after a crash, in a file beside the disk.

The journal appears by a rename. Before that moment the disk is as it was; from then on it will be what the journal
says, whatever happens in between.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from imgfix.disk.fault import host_errors, sync_folder
from imgfix.disk.vhd import FOOTER_SIZE
from imgfix.errors import ImageError

_VERSION = 1
_FOOTER = re.compile(f"[0-9a-f]{{{2 * FOOTER_SIZE}}}")


@dataclass(frozen=True, slots=True)
class Journal:
    """`size` in bytes of the disk as it will be, without its footer; `output` is a path seen from the folder.

    `inode` tells the disk's file apart from another one under its name; `merged` that the overlay's changes are in it.
    Raises ValueError for what no journal says.
    """

    inode: int
    output: str
    size: int
    footer: str
    merged: bool = False

    def __post_init__(self) -> None:
        """Refuse other types and values: the fields come from a file."""
        kinds = {"inode": int, "output": str, "size": int, "footer": str, "merged": bool}
        for name, kind in kinds.items():
            if type(getattr(self, name)) is not kind:
                raise ValueError(f"{name} is no {kind.__name__}")
        if self.size <= 0 or self.size % FOOTER_SIZE:
            raise ValueError(f"size is {self.size}, no positive multiple of {FOOTER_SIZE}")
        if not _FOOTER.fullmatch(self.footer):
            raise ValueError("footer is no footer in hexadecimal")


def journal_path(disk: Path) -> Path:
    """Return where the journal of `disk` lies."""
    return disk.with_name(f".{disk.name}.imgfix-journal")


def overlay_path(disk: Path) -> Path:
    """Return where the changes to `disk` gather."""
    return disk.with_name(f".{disk.name}.imgfix-overlay")


def read(disk: Path) -> Journal | None:
    """Return the journal of `disk`, None where there is none; raises ImageError for one that cannot be read."""
    path = journal_path(disk)
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{path}: the journal of a change in place cannot be read: {error}",
            hint=f"{overlay_path(disk).name} beside it holds the changes; keep both, and report it",
        ) from error


def write(disk: Path, journal: Journal) -> None:
    """Make the journal durable; it is there whole or, after an error (HostError), as it was before."""
    path = journal_path(disk)
    draft = path.with_name(f"{path.name}.new")
    with host_errors("writing the journal", path):
        try:
            with draft.open("w", encoding="ascii") as stream:
                stream.write(json.dumps({"version": _VERSION, **asdict(journal)}))
                stream.flush()
                os.fsync(stream.fileno())
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)


def remove(disk: Path) -> None:
    """Remove the overlay, then the journal: while there is a journal, there is something to complete."""
    with host_errors("removing the journal", journal_path(disk)):
        overlay_path(disk).unlink(missing_ok=True)
        journal_path(disk).unlink(missing_ok=True)
        sync_folder(disk.parent)


def refuse_interrupted(disk: Path) -> None:
    """Raise ImageError for a disk that is neither what it was nor what it will be."""
    if os.path.lexists(
        journal_path(disk)
    ):  # False also where the folder may not be entered: opening it tells
        raise ImageError(
            f"{disk}: a change in place was interrupted while it was being written into this file",
            hint=f"complete it first: imgfix recover {disk}",
        )


def _parsed(text: bytes) -> Journal:
    try:
        said = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    known = {"version", *(field.name for field in fields(Journal))}
    if not isinstance(said, dict) or set(said) != known:
        raise ValueError(f"it is no object of {', '.join(sorted(known))}")
    if said.pop("version") != _VERSION:
        raise ValueError(f"its version is not {_VERSION}")
    return Journal(**said)
