"""fstrim: what the guest's file systems do not use becomes holes of the image, and nothing of it is left to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from imgfix.appliance import Appliance, GuestfsError
from imgfix.volumes.mount import Mount


def trim(appliance: Appliance, mounts: Iterable[Mount], say: Callable[[str], None]) -> None:
    """Give the free blocks of every file system mounted for writing back to the host, as far as it is possible.

    A device that takes no discards (an encrypted volume, as opened) keeps its free blocks, and `say` gets the reason.
    """
    for mount in {mount.device: mount for mount in reversed(tuple(mounts))}.values():
        try:
            appliance.call("fstrim", mount.mountpoint)
        except GuestfsError as error:
            # "fstrim: fstrim: /sysroot/: ..." names the appliance's path
            reason = str(error).rpartition(": ")[2]
            say(f"{mount.mountpoint}: free blocks stay in the image: {reason}")
