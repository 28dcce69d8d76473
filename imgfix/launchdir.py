"""The folder of one launch: locked while it is in use, so that a later launch removes those of killed runs."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "imgfix-launch-"
#: Names the folder of libguestfs' sockets, which it puts into /tmp for root whatever TMPDIR says
#: (https://github.com/libguestfs/libguestfs/blob/master/lib/tmpdirs.c, guestfs_impl_get_sockdir).
_SOCKETS = "sockets"
_SOCKET = re.compile(rb"path=(/[^,\0]*/libguestfs\w{6})/guestfsd\.sock")


class LaunchDir:
    """`path` is there, empty and this process' own, until `remove`. Raises OSError where none can be made."""

    def __init__(self) -> None:
        _remove_stale()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if self.path.is_dir():  # else another launch took it for a stale one before it was locked
                return
            os.close(self._fd)

    def note_sockets(self, command_line: bytes) -> None:
        """Write down where libguestfs keeps the sockets of the QEMU with this command line."""
        if found := _SOCKET.search(command_line):
            (self.path / _SOCKETS).write_bytes(found[1])

    def remove(self) -> None:
        """Remove the folder; harmless when done before."""
        if self._fd >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._fd)
            self._fd = -1


def _remove_stale() -> None:
    """Remove what killed runs of this user left behind; what cannot be removed does no harm."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(fd).st_uid == os.geteuid():
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove_sockets(path / _SOCKETS)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)


def _remove_sockets(note: Path) -> None:
    if not note.is_file():
        return
    folder = Path(os.fsdecode(note.read_bytes()))
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)
