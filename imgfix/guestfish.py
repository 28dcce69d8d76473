"""A line that repeats a failed command of the guest in guestfish, for those who look into it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: All that the guest's commands have in their environment.
ENVIRONMENT = (
    "HOME=/root",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL=C",
    "DEBIAN_FRONTEND=noninteractive",
)

#: What an apply gives the guest's commands: a clean environment, and /run and /tmp that are not the disk's.
_PREPARED = "mount -t tmpfs imgfix /run && mkdir /run/lock && mount -t tmpfs imgfix /tmp && "


@dataclass(frozen=True, slots=True)
class Place:
    """One file system of the guest: the appliance's device, its mount point, and mount options."""

    device: str
    mountpoint: str
    options: tuple[str, ...] = ()

    @property
    def argument(self) -> str:
        """The value of guestfish's option -m (https://libguestfs.org/guestfish.1.html)."""
        return ":".join((self.device, self.mountpoint, *([",".join(self.options)] if self.options else [])))


def line(
    disk: Path,
    places: Sequence[Place],
    argv: Sequence[str],
    *,
    backing: str | None,
    network: bool,
    emulated: bool,
    opened: Sequence[tuple[str, str]] = (),
) -> str:
    """Return one shell line that runs `argv` in the guest on `disk`.

    `backing` is the disk's format as QEMU calls it; then a throw-away overlay is put above it, so that nothing writes
    it. None: it is a raw image that may be written. `opened` are (device, name) of LUKS volumes, for which guestfish
    asks the key. `network` gives the appliance one, `emulated` keeps it from using KVM.
    """
    image, image_format, before = str(disk), "raw", ""
    if backing is not None:
        image, image_format = f"{disk.name}.overlay.qcow2", "qcow2"
        create = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", backing, "-b", str(disk.absolute()), image)
        before = f"{shlex.join(create)} && "
    before += "LIBGUESTFS_BACKEND=direct "
    if emulated:
        before += "LIBGUESTFS_BACKEND_SETTINGS=force_tcg "
    script = _PREPARED + shlex.join(("env", "-i", *ENVIRONMENT, *argv))
    head = ("guestfish", "--rw", f"--format={image_format}", "-a", image, *(["--network"] if network else []))
    if opened:
        opening = [word for device, name in opened for word in ("cryptsetup-open", device, name, ":")]
        mounts = [w for p in places for w in (*_mount(p), ":")]
        return before + shlex.join((*head, "run", ":", *opening, *_activated(), *mounts, "sh", script))
    mounted = [word for place in places for word in ("-m", place.argument)]
    return before + shlex.join((*head, *mounted, "sh", script))


def _mount(place: Place) -> tuple[str, ...]:
    return ("mount-options", ",".join(place.options), place.device, place.mountpoint)


def _activated() -> tuple[str, ...]:
    """Volume groups inside LUKS are seen only when it is open."""
    return ("vg-activate-all", "true", ":")
