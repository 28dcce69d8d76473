"""The facts of a guest as frozen values. Readers make them, steps use them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Distro:
    """os-release, as far as imgfix uses it. `family` is the profile family: debian, rhel, suse ...

    `base_version` is the version of the family's own distribution that a derivative is made from, "" where that
    is newer than any known; None where `version` counts itself.
    """

    id: str
    id_like: tuple[str, ...]
    version: str
    pretty_name: str
    family: str
    base_version: str | None = None

    @property
    def release(self) -> str:
        """Return the version in the family's own counting: 22.04 for Linux Mint 21."""
        return self.version if self.base_version is None else self.base_version


class DriverState(Enum):
    """Where a kernel has a driver."""

    MODULE = "module"
    BUILTIN = "built in"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class InitramfsLayout:
    """How an image is put together: what one must know to put an archive behind it. Paths have no leading slash.

    `generator` is who made it: dracut, initramfs-tools, or "" for another. `tail` is the format of its last
    archive ("none": a plain one), `tail_size` that archive's unpacked bytes, `padding` the NUL bytes behind it.
    `roots` are the folders of module indexes (usr/lib/modules/6.1.0-18-amd64), real ones all the way;
    `files` the modules, links to modules among them, `folders` the folders in which modules may lie.
    `preload` is conf/modules, the modules that initramfs-tools loads first; None where it cannot be told.
    """

    generator: str = ""
    tail: str = "none"
    tail_size: int = 0
    padding: int = 0
    roots: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    preload: str | None = ""


@dataclass(frozen=True, slots=True)
class InitramfsFacts:
    """What one initramfs image holds.

    `modules` are module names with `_` for `-` (hv_vmbus), without `.ko` and compression suffix.
    `hooks` are the small configuration texts inside that name devices of the old machine: path inside the
    image (no leading slash) to content, e.g. conf/conf.d/resume, etc/cmdline.d/95resume.conf.
    """

    path: str
    size: int
    compression: str
    modules: frozenset[str]
    hooks: tuple[tuple[str, str], ...]
    layout: InitramfsLayout = InitramfsLayout()


@dataclass(frozen=True, slots=True)
class Kernel:
    """One installed, bootable kernel (no kdump, no rescue image).

    `image` is its vmlinuz, `initramfs` the image that its boot entries load, or None where there is none.
    `drivers` answers for each driver that imgfix asks about; `modules_dep` tells whether depmod has run.
    `needs` are, for those of them that are modules, the modules that they depend on, as modules.dep has them.
    """

    release: str
    image: str
    initramfs: InitramfsFacts | None
    drivers: tuple[tuple[str, DriverState], ...]
    modules_dep: bool
    needs: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def driver(self, name: str) -> DriverState:
        """Return where this kernel has driver `name` (hv_vmbus)."""
        return dict(self.drivers).get(name, DriverState.MISSING)

    def needs_of(self, name: str) -> tuple[str, ...]:
        """Return the modules that driver `name` depends on, all the way down; none if it is no module."""
        return dict(self.needs).get(name, ())


@dataclass(frozen=True, slots=True)
class Disabled:
    """A line of modprobe.d that keeps a driver from loading: `place` is file:line, `directive` its text."""

    driver: str
    place: str
    directive: str


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package; `version` is the manager's own spelling without the epoch."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Filesystem:
    """One file system or swap area of the guest as the appliance sees it.

    `device` is the appliance's name (/dev/sda3, /dev/rhel/root), `partition` its number on the disk or None for
    a volume, `mountpoint` where the guest's fstab puts it. `size` and `free` are bytes; `free` is None where it
    is not mounted. `partuuid` and `partlabel` are the partition's own.
    """

    device: str
    fstype: str
    uuid: str = ""
    label: str = ""
    size: int = 0
    partition: int | None = None
    partuuid: str = ""
    partlabel: str = ""
    mountpoint: str | None = None
    free: int | None = None


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """One LVM logical volume: `device` is /dev/VG/LV."""

    vg: str
    lv: str
    device: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is possible, and why: each reason a clause, in the order of the boot."""

    possible: bool
    reasons: tuple[str, ...]


_BOOTS = Verdict(True, ("boot code in the first sector",))


@dataclass(frozen=True, slots=True)
class Generations:
    """As which generation of VM the disk boots on Azure: 1 is BIOS, 2 is UEFI (R2)."""

    gen1: Verdict
    gen2: Verdict


@dataclass(frozen=True, slots=True)
class Encrypted:
    """One LUKS volume: `device` holds it, `uuid` is its own, `mapped` what it is open as; "" while it is closed."""

    device: str
    uuid: str = ""
    mapped: str = ""


@dataclass(frozen=True, slots=True)
class Array:
    """One MD RAID, of which `present` of `wanted` members are on this disk.

    `device` is the appliance's name, "" where too few members are there to start it; `names` are those by which a
    guest may know it (/dev/md0, /dev/md/root).
    """

    device: str
    level: str
    present: int
    wanted: int
    names: tuple[str, ...] = ()
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class Storage:
    """The disk from the inside. `scheme` is gpt or mbr, None where a file system fills the disk.

    `absent` are the mount points whose file system is not on this disk, or could not be mounted and need not be;
    `unlisted` those that fstab does not name: imgfix mounted the EFI system partition there. `esp` is that
    partition's number. `bios` tells whether boot code is there and complete.
    `inactive` are logical volumes that could not be activated. `hibernated` are swap areas and swap files that hold
    the memory of a machine that sleeps. `replayed` are devices that were not cleanly unmounted. `sealed` tells that
    the root is a read-only btrfs subvolume.
    """

    scheme: str | None
    filesystems: tuple[Filesystem, ...]
    logical_volumes: tuple[LogicalVolume, ...] = ()
    has_boot_code: bool = True
    has_esp: bool = False
    absent: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    esp: int | None = None
    bios: Verdict = _BOOTS
    encrypted: tuple[Encrypted, ...] = ()
    arrays: tuple[Array, ...] = ()
    inactive: tuple[str, ...] = ()
    hibernated: tuple[str, ...] = ()
    replayed: tuple[str, ...] = ()
    sealed: bool = False

    @property
    def swaps(self) -> tuple[Filesystem, ...]:
        """Swap partitions and swap volumes."""
        return tuple(f for f in self.filesystems if f.fstype == "swap")

    def holding(self, path: str) -> Filesystem | None:
        """Return the mounted file system that holds `path`: the longest mount point above it."""
        above = [
            f
            for f in self.filesystems
            if f.mountpoint and (path + "/").startswith(f.mountpoint.rstrip("/") + "/")
        ]
        return max(above, key=lambda f: len(f.mountpoint or ""), default=None)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that planning knows of a guest besides its files.

    `labelled` tells whether the system's own folders have SELinux labels.
    """

    distro: Distro
    kernels: tuple[Kernel, ...]
    packages: tuple[Package, ...]
    storage: Storage
    generations: Generations | None = None
    disabled: tuple[Disabled, ...] = ()
    labelled: bool = False

    def package(self, *names: str) -> Package | None:
        """Return the first installed package that has one of the names, or None."""
        wanted = {p.name: p for p in self.packages}
        return next((wanted[n] for n in names if n in wanted), None)
