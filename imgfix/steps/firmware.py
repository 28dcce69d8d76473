"""Generation 1 or 2: the removable-media loader put in place, and the verdict (R2).

What a vendor's installer does for firmware without boot entries is done here from the files that it left on the EFI
system partition: `grub-install --force-extra-removable` on Debian, `shim-install --removable` on SUSE, a copy of
grub.efi and its grub.conf on Enterprise Linux 6.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix import tree as files
from imgfix.change import Advice, Copy, Decision, Noop, Remove
from imgfix.errors import GuestError
from imgfix.facts import firmware
from imgfix.facts.efi import EfiProgram, Kind
from imgfix.facts.model import Facts, Filesystem, Generations
from imgfix.profile import Profile
from imgfix.tree import Tree

_REASON = "Azure's VMs have no boot entries: UEFI starts the loader of removable media"

#: SUSE's shim-install removes it on Azure, for the same reason (https://github.com/bmwiedemann/openSUSE, shim-install).
_FALLBACK = (
    "Azure's firmware may not keep the boot entry that it makes, and the VM restarts for ever (bsc#1185464); shim "
    "starts the loader beside it instead"
)

_HINT = (
    "install a loader in the guest: grub-install with the disk for Generation 1; an EFI system partition with the "
    "distribution's shim and GRUB for Generation 2"
)

#: The folder of each distribution (os-release ID) on the EFI system partition, where it is not the ID itself.
_FOLDERS: dict[str, tuple[str, ...]] = {
    "rhel": ("redhat",),
    "ol": ("redhat", "oracle"),
    "centos": ("centos", "redhat"),
    "scientific": ("scientific", "redhat"),
    "sled": ("sled", "sles"),
    "sles_sap": ("sles_sap", "sles"),
    "opensuse-leap": ("opensuse",),
    "opensuse-tumbleweed": ("opensuse",),
    "amzn": ("amzn", "amazon"),
    "mariner": ("azurelinux", "mariner"),
}

#: In a vendor's folder, the first of these that is there starts the rest.
_LOADERS = ("shim{machine}.efi", "shim.efi", "grub{machine}.efi", "grub.efi", "systemd-boot{machine}.efi")
_MOK_MANAGERS = ("mm{machine}.efi", "MokManager.efi")


@dataclass(frozen=True, slots=True)
class _Esp:
    """The EFI system partition as mounted, and what the guest's machine is called on it."""

    mount: str
    machine: str

    @property
    def loader(self) -> str:
        """The path of the removable-media loader below the mount point."""
        return f"{firmware.BOOT}/BOOT{self.machine.upper()}.EFI"

    def place(self, tree: Tree, relative: str) -> str:
        """Return the path of `relative`: as it is spelled there, else as given, in folders that are there."""
        folder, name = posixpath.split(relative)
        if found := firmware.find(tree, self.mount, relative):
            return found
        return posixpath.join(self.place(tree, folder) if folder else self.mount, name)


class Firmware:
    """Completes EFI/BOOT, and tells as which generation the image boots."""

    name = "firmware"
    requirements = ("R2",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield copies within the EFI system partition, then the verdict. Raises GuestError where nothing boots."""
        esp = firmware.esp_of(facts.storage)
        if esp is not None and esp.fstype == "vfat" and esp.mountpoint is not None:
            if profile.firmware.removable_loader:
                yield from _roomy(
                    tree, esp, _loader(facts, tree, _Esp(esp.mountpoint, firmware.machine_of(tree)))
                )
            else:
                yield Noop("the profile leaves the loader for removable media as it is")
        yield _verdict(profile, facts, firmware.read_generations(tree, facts.storage))


def _roomy(tree: Tree, esp: Filesystem, decisions: Iterator[Decision]) -> Iterator[Decision]:
    """Pass `decisions` on; raises GuestError where the copies do not fit."""
    needed = 0
    for decision in decisions:
        if isinstance(decision, Copy):
            entry = files.stat(tree, decision.source)
            needed += entry.size if entry else 0
            if esp.free is not None and needed > esp.free:
                raise GuestError(
                    f"{esp.free // 1024} KiB free on {esp.mountpoint}, {needed // 1024} KiB needed for the loader of "
                    "removable media, which UEFI starts on Azure",
                    hint=f"remove what is not needed from {esp.mountpoint} in the guest, or go on without: "
                    "--set firmware.removable_loader=false",
                )
        yield decision


def _loader(facts: Facts, tree: Tree, esp: _Esp) -> Iterator[Decision]:
    """Yield what completes the removable-media loader, or a Noop."""
    verdict = firmware.removable(tree, esp.mount, esp.machine)
    loops = facts.distro.family == "suse" and firmware.runs_fallback(tree, esp.mount, esp.machine) is not None
    source = _source(facts, tree, esp)
    if verdict.possible and not loops:
        copies = [] if source is None else list(_legacy_configuration(tree, esp, source))
        yield from copies or [Noop("; ".join(verdict.reasons))]
    elif source is None:
        yield Noop(
            f"{'; '.join(verdict.reasons)}; and {esp.mount}/EFI has no loader of a vendor to put there"
        )
    else:
        yield from _placed(tree, esp, source, loops=loops)


def _source(facts: Facts, tree: Tree, esp: _Esp) -> str | None:
    """Return the loader of the guest's own vendor, or of the only vendor that has one."""
    folders = firmware.vendor_folders(tree, esp.mount)
    found = [path for folder in folders if (path := _loader_in(tree, folder, esp.machine)) is not None]
    for name in _FOLDERS.get(facts.distro.id, (facts.distro.id,)):
        own = [p for p in found if posixpath.basename(posixpath.dirname(p)).casefold() == name]
        if own:
            return own[0]
    return found[0] if len(found) == 1 else None


def _loader_in(tree: Tree, folder: str, machine: str) -> str | None:
    for name in _LOADERS:
        path = firmware.find(tree, folder, name.format(machine=machine))
        program = _usable(tree, path, machine)
        if path is None or program is None:
            continue
        if program.kind is Kind.OTHER and not name.startswith("systemd"):
            continue
        # shim alone starts nothing.
        if program.kind is not Kind.SHIM or firmware.find(tree, folder, program.stage):
            return path
    return None


def _usable(tree: Tree, path: str | None, machine: str) -> EfiProgram | None:
    """Return what the program at `path` is, or None where it is none for this machine."""
    program = firmware.program_at(tree, path) if path is not None else None
    return program if program is not None and program.machine in ("", machine) else None


def _placed(tree: Tree, esp: _Esp, source: str, *, loops: bool) -> Iterator[Decision]:
    """Put the loader at `source` at the removable-media path, with all that it needs beside it."""
    target = esp.place(tree, esp.loader)
    if _usable(tree, target, esp.machine) is None:
        yield Copy(source, target, _REASON)
    program = firmware.program_at(tree, target)
    if program is not None and program.kind is Kind.SHIM:
        fallback = firmware.runs_fallback(tree, esp.mount, esp.machine)
        if fallback is not None and not loops and firmware.removable(tree, esp.mount, esp.machine).possible:
            return
        if fallback is not None:
            yield Remove(fallback, _FALLBACK if loops else f"{_REASON}, and this one finds no other")
        yield from _second_stage(tree, esp, posixpath.dirname(source), program, anew=loops)
        target = esp.place(tree, f"{firmware.BOOT}/{program.stage}")
        program = firmware.program_at(tree, target)
    if program is not None and program.kind is Kind.GRUB:
        own = firmware.find(tree, posixpath.dirname(source), "grub.cfg")
        found = firmware.configuration(tree, esp.mount, target, program)
        if own is not None and program.beside and (loops or not found.possible):
            yield from _copied(tree, own, esp.place(tree, f"{firmware.BOOT}/grub.cfg"))
    yield from _legacy_configuration(tree, esp, source)


def _second_stage(tree: Tree, esp: _Esp, folder: str, shim: EfiProgram, *, anew: bool) -> Iterator[Decision]:
    """Put what shim starts beside it: the loader, and the manager of keys, which shim 15 insists on."""
    for name in (shim.stage, *(n.format(machine=esp.machine) for n in _MOK_MANAGERS)):
        source = firmware.find(tree, folder, name)
        target = esp.place(tree, f"{firmware.BOOT}/{name}")
        if source is not None and (anew or _usable(tree, target, esp.machine) is None):
            yield from _copied(tree, source, target)


def _legacy_configuration(tree: Tree, esp: _Esp, source: str) -> Iterator[Decision]:
    """Keep the configuration of GRUB 0.97 at the removable-media path like the one that the guest's tools edit."""
    target = esp.place(tree, esp.loader)
    program = firmware.program_at(tree, target)
    if program is None or program.kind is not Kind.GRUB_LEGACY:
        return
    own = firmware.find(tree, posixpath.dirname(source), "grub.conf")
    if own is not None and files.read(tree, source) == files.read(tree, target):
        yield from _copied(tree, own, esp.place(tree, f"{posixpath.splitext(esp.loader)[0]}.conf"))


def _copied(tree: Tree, source: str, target: str) -> Iterator[Decision]:
    if not files.is_file(tree, target) or files.read(tree, source) != files.read(tree, target):
        yield Copy(source, target, _REASON)


def _verdict(profile: Profile, facts: Facts, found: Generations) -> Decision:
    """Say as which generation the image boots. Raises GuestError where it is none, or not what the profile asks."""
    boots = {"gen1": found.gen1, "gen2": found.gen2}
    require = profile.firmware.require
    for name in {"any": (), "both": ("gen1", "gen2")}.get(require, (require,)):
        if not boots[name].possible:
            raise GuestError(
                f"the profile wants an image for Generation {name[-1]}, and this one does not boot as that: "
                f"{'; '.join(boots[name].reasons)}",
                hint=_HINT,
            )
    first, second = (f"Generation {name[-1]} ({'; '.join(v.reasons)})" for name, v in boots.items())
    if found.gen1.possible and found.gen2.possible:
        return Noop(f"boots as {first} and as {second}")
    if found.gen1.possible:
        return Advice(f"boots as Generation 1 only, not as {second}")
    if found.gen2.possible:
        return Advice(f"boots as Generation 2 only, not as {first}")
    esp = firmware.esp_of(facts.storage)
    if esp is not None and esp.mountpoint is None:
        return Advice(f"boots not as {first}; whether it boots as {second.replace(' (', ' is unknown (', 1)}")
    raise GuestError(f"nothing to boot from, neither as {first} nor as {second}", hint=_HINT)
