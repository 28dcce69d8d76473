"""Whether another QEMU has a disk open for writing, by the locks that it holds on its file."""

from __future__ import annotations

import fcntl
import os
import struct

from imgfix.disk.sparse import OpenFile
from imgfix.errors import ImageError

#: fcntl(2), F_OFD_GETLK; Python names it from 3.9 on only where its C library did when it was built.
_F_OFD_GETLK = 36
_FLOCK = struct.Struct("@hhqqi4x")
#: https://gitlab.com/qemu-project/qemu/-/blob/master/block/file-posix.c: RAW_LOCK_PERM_BASE, and the bit of
#: BLK_PERM_WRITE above it.
_WRITING = 100 + 1


def refuse_in_use(file: OpenFile) -> None:
    """Raise ImageError if a virtual machine writes to the file: a copy of it would be of many moments."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITING, 1, 0)
    try:
        answer = _FLOCK.unpack(fcntl.fcntl(file.fd, _F_OFD_GETLK, asked))
    except OSError:
        return  # a file system without such locks: QEMU holds none there either
    if answer[0] != fcntl.F_UNLCK:
        raise ImageError(
            f"{file.path}: another process has it open for writing",
            hint="shut down the virtual machine that uses it, or work on a snapshot's copy",
        )
