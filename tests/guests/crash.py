"""What the sweep works with: its cases, and a folder in which an apply is begun again and again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.disk import eio
from tests.disks import plain
from tests.guests import overfull
from tests.guests.workshop import ROOT, sha256

PROFILE = "name: small\ndescription: what needs no program of the guest\n"
MARK = "IMGFIX_SWEEP"
OLD = b"an older output"
SMALL = 96 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """One way to apply, and what befalls it.

    `victim` is imgfix, qemu, space, which a stranger's file takes, a sector of the source that cannot be read, or a
    guest that is as good as full.
    """

    name: str
    victim: str
    options: tuple[str, ...] = ()

    @property
    def in_place(self) -> bool:
        """Tell whether the disk itself becomes the output."""
        return bool(self.options)


CASES = (
    Case("copy", "imgfix"),
    Case("in-place", "imgfix", ("--in-place",)),
    Case("copy-qemu", "qemu"),
    Case("in-place-qemu", "qemu", ("--in-place",)),
    Case("copy-space", "space"),
    Case("in-place-space", "space", ("--in-place",)),
    Case("copy-eio", "sector"),
    Case("in-place-eio", "sector", ("--in-place",)),
    Case("guest-full", "guest"),
)


class Wrong(Exception):
    """A point at which something was not as promised."""


class Bench:
    """A folder with the disk to begin with; each call of imgfix is marked, so that its processes can be found."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.pristine = plain.build(scratch / "plain.raw", scratch)
        self.sha256 = ""
        self.profile = scratch / "small.yaml"
        self.profile.write_text(PROFILE)
        self.shim = eio.build(scratch)

    def unmount(self) -> None:
        """Take the small file system away, if there is one."""
        if (self.scratch / "work/disk").is_mount():
            subprocess.run(("umount", self.scratch / "work/disk"), check=True)

    def fresh(self, *, small: bool = False, full: str = "") -> Path:
        """Return a new copy of the disk in a folder of its own, with an older output and a TMPDIR beside it.

        With `small` the folder is a file system of SMALL bytes; `full` is a path of the guest that has no room.
        """
        folder = self.scratch / "work"
        self.unmount()
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "disk").mkdir(parents=True)
        if small:
            mount = ("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", folder / "disk")
            subprocess.run(mount, check=True)
        (folder / "tmp").mkdir()
        disk = folder / "disk/d.raw"
        subprocess.run(("cp", "--sparse=always", self.pristine, disk), check=True)
        disk.with_suffix(".vhd").write_bytes(OLD)
        if full:
            overfull.fill(disk, full, folder)
        self.sha256 = sha256(disk)
        return disk

    def start(
        self,
        disk: Path,
        case: Case,
        variables: Mapping[str, str] | None = None,
        profile: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Begin an apply."""
        wanted = (str(profile or self.profile), str(disk), "--force", *case.options)
        argv = (sys.executable, "-m", "imgfix", "apply", *wanted)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(disk.parents[1] / "tmp"),
            "LIBGUESTFS_CACHEDIR": os.environ.get("LIBGUESTFS_CACHEDIR", "/var/tmp"),
            MARK: str(self.scratch),
            **(variables or {}),
        }
        return subprocess.Popen(
            argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def processes(self) -> set[int]:
        """Return the marked processes that run."""
        mark = f"{MARK}={self.scratch}".encode()
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        found.add(int(folder.name))
                except OSError:
                    continue
        return found

    def gone(self, seconds: float = 30.0) -> bool:
        """Wait for the end of all marked processes; libguestfs' guard of QEMU looks at its parent every two seconds."""
        end = time.monotonic() + seconds
        while self.processes() and time.monotonic() < end:
            time.sleep(0.2)
        return not self.processes()
