"""Writing what was copied to the disk while more is copied: the one fsync at the end finds little to wait for."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

#: Linux, include/uapi/linux/fs.h. Without the flags that wait: those would take note of write errors, which are
#: fsync's to tell (sync_file_range(2), and mm/filemap.c, file_check_and_advance_wb_err).
_SYNC_FILE_RANGE_WRITE = 2


def start(fd: int, offset: int = 0, length: int = 0) -> None:
    """Start to write the dirty pages of `length` bytes of the file at `offset`, 0 for all up to its end.

    Does not wait, and tells nothing: where a file system has no use for it, nothing is lost.
    """
    _sync_file_range()(fd, offset, length, _SYNC_FILE_RANGE_WRITE)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int]:
    function = ctypes.CDLL(None).sync_file_range
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function
