"""The folder of one launch: locked while it is in use, so that a later launch removes those of killed runs."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from imgfix import runfolder

_PREFIX = "imgfix-launch-"
#: Names the folder of libguestfs' sockets, which it puts into /tmp for root whatever TMPDIR says
#: (https://github.com/libguestfs/libguestfs/blob/master/lib/tmpdirs.c, guestfs_impl_get_sockdir).
_SOCKETS = "sockets"
_SOCKET = re.compile(rb"path=(/[^,\0]*/libguestfs\w{6})/guestfsd\.sock")


class LaunchDir:
    """`path` is there, empty and this process' own, until `remove`. Raises OSError where none can be made."""

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        runfolder.remove_stale(_PREFIX, parent, (os.geteuid(),), _remove)
        self.path, self._fd = runfolder.make(_PREFIX, parent)

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


def _remove(path: Path) -> None:
    _remove_sockets(path / _SOCKETS)
    shutil.rmtree(path, ignore_errors=True)


def _remove_sockets(note: Path) -> None:
    if not note.is_file():
        return
    folder = Path(os.fsdecode(note.read_bytes()))
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)
