"""The scratch of --chroot host: a folder of this host, locked while in use; what a killed run left goes at the next."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from imgfix import runfolder, sandbox
from imgfix.disk.fault import free_bytes, host_errors, no_space
from imgfix.disk.size import GIB, MIB

_PREFIX = "imgfix-chroot-"

#: Where Linux keeps what outlives a reboot; /tmp may be memory.
_LARGE = "/var/tmp"  # noqa: S108

#: Bytes that the drive has at most, and that are needed for a start: it and the tree hold the files both for a while.
_DRIVE = 16 * GIB
_ROOM = 2 * GIB


class Scratch:
    """A folder of this host for a guest's files, and a drive's file on which the appliance hands them over."""

    def __init__(self) -> None:
        self._held = ExitStack()

    def __enter__(self) -> Scratch:
        parent = Path(os.environ.get("TMPDIR", _LARGE))
        with ExitStack() as held, host_errors("the sandbox", parent):
            # QEMU halts an appliance whose drive finds no space; a drive that ends before gives it an error.
            room = free_bytes(parent) - sandbox.SPACE_LEFT
            if room < _ROOM:
                raise no_space(
                    "a copy of the guest's files",
                    parent,
                    needed=_ROOM + sandbox.SPACE_LEFT,
                    instead="set TMPDIR to a folder with more, or leave out --chroot host",
                )
            runfolder.remove_stale(_PREFIX, parent, (os.geteuid(), sandbox.owner()), _remove)
            self._path, lock = runfolder.make(_PREFIX, parent)
            held.callback(os.close, lock)
            held.callback(_remove, self._path)
            self.tree.mkdir(mode=0o700)
            sandbox.own(self._path)
            sandbox.own(self.tree)
            with self.drive.open("wb") as stream:
                stream.truncate(min(room, _DRIVE) // MIB * MIB)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def tree(self) -> Path:
        """The folder that becomes the guest's root."""
        return self._path / "tree"

    @property
    def drive(self) -> Path:
        """The drive's file; sparse."""
        return self._path / "drive"

    def empty_drive(self) -> None:
        """Give the space of the drive back; the appliance may keep it open."""
        os.truncate(self.drive, 0)


def _remove(folder: Path) -> None:
    """Remove a scratch with all that a guest has put into it: folders that are closed (0555, 0000) are opened first."""
    if os.geteuid():  # root needs no permission, and follows nobody's names
        for path, names, _ in os.walk(folder):
            for name in names:
                inner = Path(path, name)
                if not inner.is_symlink():
                    inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
