"""No swap on the OS disk, and nothing left that waits for it (R7, R22)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Noop, Remove, RemoveSwapDevice
from imgfix.facts import devices
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.edit import edited, parsing
from imgfix.textedit import crypttab, fstab, shellvars
from imgfix.tree import Tree

FSTAB = "/etc/fstab"
CRYPTTAB = "/etc/crypttab"
RESUME = "/etc/initramfs-tools/conf.d/resume"
#: Sourced in this order; the last RESUME counts (initramfs.conf(5)).
_RESUMES = ("/etc/initramfs-tools/initramfs.conf", "/etc/initramfs-tools/conf.d/*")

#: Swap files by the names that installers and waagent give them; any other is found by fstab.
_KNOWN_FILES = ("/swapfile", "/swap.img", "/swap/swapfile", "/mnt/resource/swapfile")
_UNITS = (
    "/etc/systemd/system/*.swap",
    "/etc/systemd/system/*.wants/*.swap",
    "/etc/systemd/system/*.requires/*.swap",
)
_MAPPER = "/dev/mapper/"
#: The second ones are dracut's of EL 6.
_VOLUME_ARGS = ("rd.lvm.lv", "rd_LVM_LV")
_KEY_ARGS = ("rd.luks.uuid", "rd_LUKS_UUID")
_REASON = "no swap on the OS disk"


def unwanted_args(profile: Profile, facts: Facts) -> tuple[str, ...]:
    """Return the kernel arguments that would make a guest without swap wait for it.

    A swap volume left in rd.lvm.lv ends in dracut's emergency shell (dracutdevs/dracut#283), a resume= in an
    endless wait (systemd/systemd#35180). `swap` is what installers call the volume, also where it is gone.
    """
    if not profile.swap.remove:
        return ()
    swaps = {swap.device for swap in facts.storage.swaps}
    volumes = [f"{v.vg}/{v.lv}" for v in facts.storage.logical_volumes if v.device in swaps]
    present = {f"{v.vg}/{v.lv}" for v in facts.storage.logical_volumes}
    gone = [f"{vg}/swap" for vg in sorted({v.vg for v in facts.storage.logical_volumes})]
    volumes += [volume for volume in gone if volume not in volumes and volume not in present]
    # Nothing needs the passphrase of an encrypted swap area any more (dracut.cmdline(7), rd.luks.uuid).
    crypts = [e.uuid for e in facts.storage.encrypted if e.mapped in swaps]
    keys = [f"{prefix}{uuid}" for uuid in crypts for prefix in ("luks-", "")]
    pairs = [(_VOLUME_ARGS, volumes), (_KEY_ARGS, keys)]
    return (
        *("resume=*", "resume_offset=*"),
        *(f"{name}={value}" for names, values in pairs for value in values for name in names),
    )


class Swap:
    """Removes swap partitions, volumes and files, with every reference but those on the command line."""

    name = "swap"
    requirements = ("R7", "R22")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield the removal of each swap area and of what refers to it."""
        if not profile.swap.remove:
            yield Noop("the profile keeps swap")
            return
        swap_files = [*_files_in_fstab(tree), *(p for p in _KNOWN_FILES if files.is_file(tree, p))]
        for path in dict.fromkeys(swap_files):
            yield Remove(path, f"{_REASON}: swap file")
        yield from _references(facts, tree)
        for device in facts.storage.swaps:
            volume = any(v.device == device.device for v in facts.storage.logical_volumes)
            kind = "partition" if device.partition else "volume"
            yield RemoveSwapDevice(device.device, device.partition, volume, f"{_REASON}: swap {kind}")
        if not facts.storage.swaps and not swap_files:
            yield Noop("no swap partition, volume or file")


def _references(facts: Facts, tree: Tree) -> Iterator[Decision]:
    encrypted = {e.spec.removeprefix(_MAPPER) for e in _swaps_in_fstab(tree) if e.spec.startswith(_MAPPER)}
    swaps = {swap.device for swap in facts.storage.swaps}
    encrypted |= {e.mapped.removeprefix(_MAPPER) for e in facts.storage.encrypted if e.mapped in swaps}
    if files.is_file(tree, FSTAB):
        yield edited(
            tree,
            FSTAB,
            lambda text: fstab.remove(text, lambda e: e.vfstype == "swap" and not devices.is_zram(e.spec)),
            reason=_REASON,
            settled="names no swap",
        )
    if files.is_file(tree, CRYPTTAB):
        yield edited(
            tree,
            CRYPTTAB,
            lambda text: crypttab.remove(text, lambda e: "swap" in e.options or e.name in encrypted),
            reason=_REASON,
            settled="names no swap",
        )
    for pattern in _UNITS:
        for path in files.glob(tree, pattern):
            if not devices.is_zram(_device_of(path)):
                yield Remove(path, f"{_REASON}: systemd unit")
    for path in (p for pattern in _RESUMES for p in files.glob(tree, pattern) if files.is_file(tree, p)):
        yield from _no_resume(tree, path)


def _device_of(unit: str) -> str:
    """Return the device that a swap unit is named after: dev-zram0.swap is for /dev/zram0 (systemd.swap(5))."""
    return "/" + posixpath.basename(unit).removesuffix(".swap").replace("-", "/")


def _no_resume(tree: Tree, path: str) -> Iterator[Decision]:
    """initramfs-tools waits for the device that RESUME names; `none` ends the search, also for `auto`."""
    with parsing(path):
        value = shellvars.get(files.read_text(tree, path), "RESUME")
    if value is not None or path == RESUME:
        yield edited(
            tree,
            path,
            lambda text: shellvars.set_value(text, "RESUME", "none"),
            reason=f"{_REASON}: nothing to resume",
            settled="names no swap",
        )


def _swaps_in_fstab(tree: Tree) -> list[fstab.Entry]:
    if not files.is_file(tree, FSTAB):
        return []
    with parsing(FSTAB):
        lines = fstab.parse(files.read_text(tree, FSTAB))
    return [line.entry for line in lines if line.entry and line.entry.vfstype == "swap"]


def _files_in_fstab(tree: Tree) -> list[str]:
    specs = [entry.spec for entry in _swaps_in_fstab(tree)]
    return [s for s in specs if s.startswith("/") and not s.startswith("/dev/") and files.is_file(tree, s)]
