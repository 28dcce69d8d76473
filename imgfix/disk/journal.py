"""The journal of a change in place: what completes it after a crash, in a file beside the disk.

The journal appears by a rename. Before that moment the disk is as it was; from then on it will be what the journal
says, whatever happens in between.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgfix.disk.fault import host_errors, sync_folder
from imgfix.disk.interrupted import journal_path, overlay_path
from imgfix.disk.vhd import FOOTER_SIZE
from imgfix.errors import ImageError


class Journal(BaseModel):
    """`size` in bytes of the disk as it will be, without its footer; `output` is a path seen from the folder.

    `inode` tells the disk's file apart from another one under its name; `merged` that the overlay's changes are in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    inode: int
    output: str
    size: int = Field(gt=0, multiple_of=512)
    footer: str = Field(pattern=f"^[0-9a-f]{{{2 * FOOTER_SIZE}}}$")
    merged: bool = False


def read(disk: Path) -> Journal | None:
    """Return the journal of `disk`, None where there is none; raises ImageError for one that cannot be read."""
    path = journal_path(disk)
    try:
        return Journal.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
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
                stream.write(journal.model_dump_json())
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
