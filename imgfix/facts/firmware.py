"""firmware: as which generation of VM a guest boots on Azure, followed from the loader to its configuration (R2).

Azure's VMs come without boot entries in NVRAM, so UEFI starts the removable-media loader EFI/BOOT/BOOTX64.EFI
(BOOTAA64.EFI on arm64) of the EFI system partition (UEFI specification 2.10, 3.5.1.1). FAT knows no case: names are
compared without.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from imgfix import tree as guest
from imgfix.facts.efi import EfiProgram, Kind, read_program
from imgfix.facts.model import Filesystem, Generations, Storage, Verdict
from imgfix.tree import Tree

#: Bytes. Loaders have some MiB; what is larger is a kernel or a unified kernel image, and is not read.
_LARGEST_LOADER = 16 << 20

#: The dynamic loader has the same place in every distribution: https://sourceware.org/glibc/wiki/ABIList
_ARM_LOADER = "/lib/ld-linux-aarch64.so.1"

BOOT = "EFI/BOOT"


def read_generations(tree: Tree, storage: Storage) -> Generations:
    """Return as which generation the guest `tree` boots, and why or why not."""
    machine = machine_of(tree)
    gen1 = storage.bios if machine == "x64" else Verdict(False, ("Azure's arm64 VMs are Generation 2",))
    return Generations(gen1, _gen2(tree, storage, machine))


def machine_of(tree: Tree) -> str:
    """Return what the guest's machine is called in names of EFI programs: x64 or aa64."""
    return "aa64" if guest.exists(tree, _ARM_LOADER) else "x64"


def esp_of(storage: Storage) -> Filesystem | None:
    """Return the file system in the EFI system partition, or None where there is none."""
    if storage.esp is None:
        return None
    return next((f for f in storage.filesystems if f.partition == storage.esp), None)


def find(tree: Tree, folder: str, relative: str) -> str | None:
    """Return the path below `folder`, a FAT file system, that `relative` names in any case, or None."""
    here = folder
    for part in relative.split("/"):
        name = next((n for n in guest.names(tree, here) if n.casefold() == part.casefold()), None)
        if name is None:
            return None
        here = posixpath.join(here, name)
    return here


def program_at(tree: Tree, path: str) -> EfiProgram | None:
    """Return what the EFI program at `path` is; None if it is no file or no EFI program."""
    entry = guest.stat(tree, path)
    if entry is None or not guest.is_file(tree, path):
        return None
    if entry.size > _LARGEST_LOADER:
        return EfiProgram(Kind.OTHER, "")
    return read_program(guest.read(tree, path))


def vendor_folders(tree: Tree, mount: str) -> tuple[str, ...]:
    """Return the folders below EFI in the EFI system partition at `mount`, without that of removable media."""
    top = find(tree, mount, "EFI")
    if top is None:
        return ()
    names = (name for name in guest.names(tree, top) if name.casefold() != "boot")
    return tuple(path for name in names if guest.is_dir(tree, path := posixpath.join(top, name)))


def removable(tree: Tree, mount: str, machine: str) -> Verdict:
    """Follow the removable-media loader of the EFI system partition at `mount`; paths in reasons are its own."""
    wanted = f"{BOOT}/BOOT{machine.upper()}.EFI"
    path = find(tree, mount, wanted)
    if path is None:
        return Verdict(
            False, (f"there is no {wanted}, the only loader that a VM without boot entries starts",)
        )
    return _started(tree, mount, path, machine, is_removable=True)


def runs_fallback(tree: Tree, mount: str, machine: str) -> str | None:
    """Return the path of the program that shim at the removable-media path starts instead of a loader, or None."""
    path = find(tree, mount, f"{BOOT}/BOOT{machine.upper()}.EFI")
    program = program_at(tree, path) if path else None
    if path is None or program is None or program.kind is not Kind.SHIM:
        return None
    return find(tree, posixpath.dirname(path), program.fallback)


def configuration(tree: Tree, mount: str, path: str, program: EfiProgram) -> Verdict:
    """Tell whether GRUB, the `program` at `path`, finds its configuration."""
    folder, name = posixpath.split(path)
    if program.kind is Kind.GRUB_LEGACY:
        # It takes its own name with another ending: https://github.com/libguestfs/virt-v2v (convert_linux.ml)
        places = [(folder, f"{posixpath.splitext(name)[0]}.conf")]
    elif program.searches:
        return Verdict(True, (f"GRUB finds its configuration by itself{_in(program.prefix)}",))
    else:
        places = [(folder, "grub.cfg")] if program.beside else []
        places += [(mount, f"{program.prefix.strip('/')}/grub.cfg")] if program.prefix else []
    for base, relative in places:
        if found := find(tree, base, relative):
            return Verdict(True, (f"GRUB reads {_relative(found, mount)}",))
    told = " or ".join(_relative(posixpath.join(base, relative), mount) for base, relative in places)
    return Verdict(False, (f"GRUB looks for {told} and finds nothing",))


def _in(prefix: str) -> str:
    return f" in {prefix}" if prefix else ""


def _gen2(tree: Tree, storage: Storage, machine: str) -> Verdict:
    esp = esp_of(storage)
    if storage.esp is None:
        return Verdict(False, ("there is no EFI system partition",))
    if esp is None or esp.fstype != "vfat":
        holds = esp.fstype if esp is not None else "no file system"
        return Verdict(False, (f"partition {storage.esp} is an EFI system partition, and holds {holds}",))
    if esp.mountpoint is None:
        return Verdict(
            False, (f"fstab does not mount the EFI system partition ({esp.device}): not looked at",)
        )
    found = removable(tree, esp.mountpoint, machine)
    if esp.mountpoint in storage.unlisted:
        note = f"fstab does not mount the EFI system partition ({esp.device}), imgfix looked at it"
        return Verdict(found.possible, (note, *found.reasons))
    return found


def _started(tree: Tree, mount: str, path: str, machine: str, *, is_removable: bool) -> Verdict:
    """Follow the program at `path`."""
    name, program = _relative(path, mount), program_at(tree, path)
    if program is None:
        return Verdict(False, (f"{name} is no EFI program, or is cut short",))
    if program.machine not in ("", machine):
        return Verdict(False, (f"{name} is made for {program.machine}, the guest for {machine}",))
    told = f"{name} is {program.kind.value}"
    if program.kind is Kind.OTHER:
        return Verdict(True, (told,))
    if program.kind is not Kind.SHIM:
        return _with(told, configuration(tree, mount, path, program))
    folder = posixpath.dirname(path)
    if is_removable and (fallback := find(tree, folder, program.fallback)):
        return _with(f"{told} and starts {posixpath.basename(fallback)}", _fallback(tree, mount, machine))
    stage = find(tree, folder, program.stage)
    if stage is None:
        beside = f"neither {program.stage} nor {program.fallback}" if is_removable else f"no {program.stage}"
        return Verdict(False, (f"{told} and needs a loader beside it; there is {beside}",))
    started = _started(tree, mount, stage, machine, is_removable=False)
    return _with(f"{told} and starts {posixpath.basename(stage)}", started)


def _fallback(tree: Tree, mount: str, machine: str) -> Verdict:
    """Follow what fallback does: a boot entry for each line of EFI/*/BOOTX64.CSV, then the first one is started.

    https://github.com/rhboot/shim/blob/main/fallback.c (find_boot_csv)
    """
    found = [
        _started(tree, mount, path, machine, is_removable=False) for path in _entries(tree, mount, machine)
    ]
    if not found:
        where = f"EFI/*/BOOT{machine.upper()}.CSV"
        return Verdict(False, (f"it makes boot entries from {where}, and no loader named there exists",))
    best = next((verdict for verdict in found if verdict.possible), found[0])
    return _with("it makes a boot entry and restarts the VM once", best)


def _entries(tree: Tree, mount: str, machine: str) -> Iterator[str]:
    for folder in vendor_folders(tree, mount):
        lists = (find(tree, folder, name) for name in (f"BOOT{machine.upper()}.CSV", "BOOT.CSV"))
        for path in (p for p in lists if p is not None and guest.is_file(tree, p)):
            for line in guest.read(tree, path).decode("utf-16", "replace").splitlines():
                loader = find(tree, folder, line.partition(",")[0].strip())
                if loader is not None and guest.is_file(tree, loader):
                    yield loader


def _with(told: str, rest: Verdict) -> Verdict:
    return Verdict(rest.possible, (told, *rest.reasons))


def _relative(path: str, mount: str) -> str:
    return path[len(mount.rstrip("/")) + 1 :]
