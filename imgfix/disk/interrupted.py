"""What lies beside a disk while it is changed in place, and tells that somebody was interrupted.

Whoever opens a disk asks; what the journal says (imgfix.disk.journal) is read by a change in place only.
"""

from __future__ import annotations

import os
from pathlib import Path

from imgfix.errors import ImageError


def journal_path(disk: Path) -> Path:
    """Return where the journal of `disk` lies."""
    return disk.with_name(f".{disk.name}.imgfix-journal")


def overlay_path(disk: Path) -> Path:
    """Return where the changes to `disk` gather."""
    return disk.with_name(f".{disk.name}.imgfix-overlay")


def refuse_interrupted(disk: Path) -> None:
    """Raise ImageError for a disk that is neither what it was nor what it will be."""
    # False also where the folder may not be entered: opening the disk tells.
    if os.path.lexists(journal_path(disk)):
        raise ImageError(
            f"{disk}: a change in place was interrupted while it was being written into this file",
            hint=f"complete it first: imgfix recover {disk}",
        )
