"""A session: one appliance with the guest's file systems found and mounted, read-only until a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from imgfix import appliance as appliances
from imgfix.accel import Accelerator
from imgfix.appliance import DISK, Appliance, GuestfsError, ImageFormat
from imgfix.change import RemoveSwapDevice
from imgfix.disk.partition import PartitionTable
from imgfix.disk.size import describe
from imgfix.errors import ApplyError, ImageError, ImgfixError
from imgfix.facts.initramfs import read_initramfs
from imgfix.facts.model import Facts, Filesystem, InitramfsFacts
from imgfix.facts.reader import read_facts
from imgfix.guest import Guest
from imgfix.guestfish import Place
from imgfix.interrupt import Interrupts
from imgfix.keys import Key
from imgfix.mounting import mount_guest
from imgfix.volumes import fsck, grow, ioerrors, trim

#: More partitions than this an MBR holds only as logical ones.
_MBR_PRIMARIES = 4


class Session:
    """One launch: `guest` and `storage`, mounted read-only. A context manager."""

    def __init__(
        self,
        appliance: Appliance,
        disk: Path,
        table: PartitionTable,
        keys: Sequence[Key],
        say: Callable[[str], None],
    ) -> None:
        self._appliance = appliance
        self._folder = disk.parent
        self._say = say
        self.guest = Guest(appliance)
        self._writable = False
        self._mounts, self.storage = mount_guest(appliance, self.guest, table, keys)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._appliance.__exit__(kind, error, trace)

    @property
    def emulated(self) -> bool:
        """Tell whether the appliance runs without KVM: the guest's commands then take many times as long."""
        return self._appliance.verdict.accelerator is Accelerator.TCG

    @property
    def places(self) -> tuple[Place, ...]:
        """Return what is mounted where, in the order in which it was."""
        return tuple(Place(m.device, m.mountpoint, m.options) for m in self._mounts)

    @property
    def opened(self) -> tuple[tuple[str, str], ...]:
        """Return the LUKS volumes that were opened: device, and the name that it is open as."""
        return tuple((e.device, e.mapped.rpartition("/")[2]) for e in self.storage.encrypted if e.mapped)

    def leave_in_order(self) -> None:
        """Unmount, as far as possible, so that what was done so far is in the image; for one that is kept."""
        with suppress(GuestfsError):
            self._appliance.call("umount_all")
            self._appliance.call("sync")

    def make_writable(self) -> None:
        """Check every file system, then mount all again for writing.

        Until then not a byte of the disk has changed, but for journals that were replayed. Raises ImageError for a
        file system that is damaged already: what is wrong with it is not of imgfix's making.
        """
        if self._writable:
            return
        with _needed("the guest's file systems cannot be mounted for writing", ApplyError):
            self._appliance.call("umount_all")
            for filesystem in self._mounted():
                self._require_sound(filesystem)
            for mount in self._mounts:
                mount.writable(self._appliance)
        self._writable = True
        self.guest.begin_changes()

    def facts(self, drivers: Sequence[str] = ()) -> Facts:
        """Read the guest's facts; `drivers` are asked for besides the usual ones."""
        self.guest.forget()
        found = read_facts(self.guest, self.storage, self._read_image, drivers)
        return replace(found, labelled=self.guest.is_labelled("/etc"))

    def _read_image(self, path: str) -> InitramfsFacts:
        entry = self.guest.lstat(path)
        with self.guest.opened(path) as stream:
            return read_initramfs(stream, path, entry.size if entry else 0)

    def delete_swap(self, swaps: Sequence[RemoveSwapDevice]) -> None:
        """Erase swap areas and delete their partitions or volumes, with everything unmounted."""
        if not swaps:
            return
        with _needed("swap cannot be removed from the disk", ApplyError):
            self._appliance.call("umount_all")
            for swap in swaps:
                self._erase(swap.device)
                # udev looks at a device that was just written and holds it open for a moment.
                self._appliance.call("debug", "sh", ["udevadm settle --timeout=60"])
                if swap.volume:
                    self._appliance.call("lvremove", swap.device)
                elif swap.partition is not None and self._may_delete(swap.partition):
                    self._appliance.call("part_del", DISK, swap.partition)
            gone = {swap.device for swap in swaps}
            for mount in self._mounts:
                mount.writable(self._appliance)
        left = tuple(f for f in self.storage.filesystems if f.device not in gone)
        volumes = tuple(v for v in self.storage.logical_volumes if v.device not in gone)
        self.storage = replace(self.storage, filesystems=left, logical_volumes=volumes)
        self.guest.forget()

    def grow_root(self, *, last: bool) -> None:
        """Grow the root over the free space behind it; where there is none, nothing is touched. See grow.plan."""
        with _needed("the root cannot be grown", ApplyError):
            growth = grow.plan(self._appliance, self.storage, last=last)
            if growth is None:
                return
            self.make_writable()
            self._appliance.call("umount_all")
            root = grow.carry_out(self._appliance, growth)
            for mount in self._mounts:
                mount.writable(self._appliance)
            grow.carry_out_mounted(self._appliance, growth)
        others = tuple(f for f in self.storage.filesystems if f.device != root.device)
        filesystems = tuple(sorted((*others, root), key=lambda f: f.device))
        self.storage = replace(self.storage, filesystems=filesystems)
        self._say(f"grew the root, {root.device}, from {describe(growth.root.size)} to {describe(root.size)}")

    def _erase(self, device: str) -> None:
        """Make `device` read as zeros: by discarding, which also frees its blocks in the image, else by writing."""
        try:
            self._appliance.call("blkdiscard", device)
            if self._appliance.call("blkdiscardzeroes", device):
                return
        except GuestfsError:
            pass  # the host's file system cannot punch holes
        self._appliance.call("zero_device", device)

    def _may_delete(self, partition: int) -> bool:
        """Deleting a logical partition renumbers those behind it; the erased space then just stays unused."""
        return self.storage.scheme == "gpt" or partition <= _MBR_PRIMARIES

    def cut_network(self) -> None:
        """Unplug the appliance's network for the rest of the launch."""
        self._appliance.cut_network()

    def close_clean(self, *, all_checked: bool = False) -> None:
        """Trim and unmount, check every file system of the guest that was written to, and shut down.

        `all_checked` checks those too that were only read. Raises VerifyError for a file system that is not clean
        after it was written to, ImageError for one that never was, with the checker's own output.
        """
        with _needed("the guest's file systems cannot be unmounted", ApplyError):
            if self._writable:
                trim.trim(self._appliance, self._mounts, self._say)
            self._appliance.call("umount_all")
            ioerrors.require_none(self._appliance, self._folder)
            for filesystem in self._mounted():
                if self._writable:
                    fsck.require_clean(self._appliance, filesystem)
                elif all_checked or filesystem.device in self.storage.replayed:
                    self._require_sound(filesystem)
            self._appliance.finish()

    def _require_sound(self, filesystem: Filesystem) -> None:
        if fsck.require_sound(self._appliance, filesystem):
            self._say(f"{filesystem.device}: not cleanly unmounted; mended as its next mount would do")

    def _mounted(self) -> tuple[Filesystem, ...]:
        """The guest's file systems, each once."""
        devices = {mount.device for mount in self._mounts}
        return tuple(f for f in self.storage.filesystems if f.device in devices)


@contextmanager
def opened(
    disk: Path,
    table: PartitionTable,
    *,
    name: Path,
    writable: bool,
    image_format: ImageFormat = "raw",
    network: bool = False,
    keys: Sequence[Key] = (),
    interrupts: Interrupts,
    say: Callable[[str], None],
    scratch: Path | None = None,
) -> Iterator[Session]:
    """Launch an appliance on `disk` and mount its guest; `keys` open encrypted volumes, `scratch` is a second drive.

    `name` is what the user calls the disk: `disk` may be a copy of it, or an overlay.
    Raises HostError, ImageError, GuestError, UsageError.
    """
    with (
        appliances.launch(
            disk,
            writable=writable,
            image_format=image_format,
            network=network,
            interrupts=interrupts,
            say=say,
            scratch=scratch,
        ) as appliance,
        _naming(name),
        _needed("the disk cannot be inspected"),
    ):
        with ioerrors.explaining(appliance, disk.parent):
            starting = Session(appliance, disk, table, keys, say)
        with starting as session, ioerrors.explaining(appliance, disk.parent):
            yield session


@contextmanager
def _naming(disk: Path) -> Iterator[None]:
    """Say which disk an ImageError is about: of a guest, devices and file systems are all that is known below."""
    try:
        yield
    except ImageError as error:
        if str(disk) in error.message:
            raise
        raise ImageError(f"{disk}: {error.message}", hint=error.hint) from error


@contextmanager
def _needed(what: str, kind: type[ImgfixError] = ImageError) -> Iterator[None]:
    """Turn a failed call of libguestfs into an error of `kind` that begins with `what`."""
    try:
        yield
    except GuestfsError as error:
        raise kind(f"{what}: {error}") from error
