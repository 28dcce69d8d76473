"""Mount: one file system of the guest at its place, read-only until something is to be changed."""

from __future__ import annotations

from dataclasses import dataclass

from imgfix.appliance import Appliance, GuestfsError
from imgfix.errors import ImageError


@dataclass(frozen=True, slots=True)
class Mount:
    """`options` choose a btrfs subvolume: the same device may be mounted in several places.

    `required` tells that the guest does not boot without it: fstab says neither nofail nor noauto.
    """

    device: str
    mountpoint: str
    options: tuple[str, ...] = ()
    required: bool = True

    def writable(self, appliance: Appliance) -> None:
        """Mount it for reading and writing."""
        appliance.call("blockdev_setrw", self.device)
        appliance.call("mount_options", ",".join(self.options), self.device, self.mountpoint)

    def read_only(self, appliance: Appliance) -> bool:
        """Mount it so that not a byte of the device changes; XFS writes its log even on a read-only mount.

        A journal that must be replayed first is replayed, and True is returned. What changes then is the work copy or
        a throw-away overlay, never the source. Raises ImageError if it cannot be mounted.
        """
        options = ",".join((*self.options, "ro"))
        appliance.call("blockdev_setro", self.device)
        try:
            appliance.call("mount_options", options, self.device, self.mountpoint)
        except GuestfsError:
            appliance.call("blockdev_setrw", self.device)
        else:
            return False
        try:
            appliance.call("mount_options", options, self.device, self.mountpoint)
        except GuestfsError as error:
            raise ImageError(
                f"{self.device} cannot be mounted: {error}",
                hint="check it with fsck in the virtual machine, or mount it there once, and export the disk again",
            ) from error
        return True
