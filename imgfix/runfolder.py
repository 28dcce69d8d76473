"""Temporary folders that are locked while in use, so that a later run removes what killed ones left."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def make(prefix: str, parent: Path) -> tuple[Path, int]:
    """Make an empty folder in `parent`, open to this user alone; it is locked until the descriptor is closed.

    Raises OSError.
    """
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Another run may take it for a stale one before it is locked.
        with suppress(FileNotFoundError):
            fd = os.open(path, _FLAGS)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if path.is_dir():
                return path, fd
            os.close(fd)


def remove_stale(prefix: str, parent: Path, owners: Collection[int], remove: Callable[[Path], None]) -> None:
    """Have `remove` take away each folder of `owners` (user ids) that nobody has locked.

    What cannot be removed does no harm.
    """
    for path in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            fd = os.open(path, _FLAGS)
            try:
                if os.fstat(fd).st_uid in owners:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
            finally:
                os.close(fd)
