"""bootloader: what boots this guest, as far as its files tell, and which files say so.

Reads what is there now, so that steps can ask again after an edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgfix import tree as guest
from imgfix.facts.kernels import ESPS
from imgfix.facts.model import Storage
from imgfix.textedit import grubcfg
from imgfix.tree import Tree

#: On FAT the case of a name does not matter to Linux, but a listing gives it as it was made.
_EFI = "[Ee][Ff][Ii]"

_GRUB2 = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg")
_GRUB2_ON_ESP = tuple(f"{esp}/{_EFI}/*/grub.cfg" for esp in ESPS)

_GENERATORS = ("/usr/sbin/grub2-mkconfig", "/usr/sbin/grub-mkconfig", "/usr/bin/grub-mkconfig")

#: GRUB legacy of EL 6, SLES 11 and Amazon Linux 1. Its EFI build reads a file of its own name beside it:
#: https://docs.redhat.com/en/documentation/red_hat_enterprise_linux/6/html/installation_guide/s1-grub-configfile
_LEGACY = ("/boot/grub/grub.conf", "/boot/grub/menu.lst", "/etc/grub.conf")
_LEGACY_ON_ESP = tuple(f"{esp}/{_EFI}/*/{name}" for esp in ESPS for name in ("grub.conf", "BOOTX64.conf"))

#: Boot Loader Specification, type 1: GRUB's blscfg reads the first folder, systemd-boot the ESP's.
#: https://uapi-group.org/specifications/specs/boot_loader_specification/
_ENTRIES = tuple(f"{esp}/loader/entries/*.conf" for esp in ESPS)
#: Type 2: a kernel, its initramfs and its command line in one signed EFI program.
_UNIFIED = tuple(f"{esp}/{_EFI}/[Ll]inux/*.[Ee][Ff][Ii]" for esp in ESPS)

_SYSTEMD_BOOT = tuple(
    pattern
    for esp in ESPS
    for pattern in (f"{esp}/loader/loader.conf", f"{esp}/{_EFI}/systemd/systemd-boot*.efi")
)

#: Boot loaders that imgfix does not know, and the files that tell of them.
_OTHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "EXTLINUX",
        (
            "/boot/extlinux/extlinux.conf",
            "/boot/extlinux.conf",
            "/extlinux.conf",
            "/boot/syslinux/syslinux.cfg",
        ),
    ),
    ("ELILO", ("/etc/elilo.conf", "/boot/elilo.conf", f"/boot/efi/{_EFI}/*/elilo.conf")),
    ("zipl", ("/etc/zipl.conf", "/boot/zipl")),
    ("LILO", ("/etc/lilo.conf",)),
)


@dataclass(frozen=True, slots=True)
class GrubConfig:
    """One grub.cfg of GRUB 2, links followed. `leads_to` is what a stub on the ESP loads, None for a menu."""

    path: str
    on_esp: bool
    leads_to: str | None


@dataclass(frozen=True, slots=True)
class Bootloader:
    """The boot configuration of a guest; every path once, links followed.

    `generator` is the guest's grub-mkconfig, as it is called there. `legacy` is empty where GRUB 2 boots the
    guest: what is left of GRUB legacy does nothing then. `others` are names of boot loaders that imgfix does
    not know, with the file that tells of each.
    """

    grub2: tuple[GrubConfig, ...]
    generator: str | None
    legacy: tuple[str, ...]
    entries: tuple[str, ...]
    unified: tuple[str, ...]
    systemd_boot: bool
    others: tuple[tuple[str, str], ...]

    @property
    def menus(self) -> tuple[GrubConfig, ...]:
        """The grub.cfg files that are no stubs."""
        return tuple(config for config in self.grub2 if config.leads_to is None)

    @property
    def is_editable(self) -> bool:
        """Tell whether there is a boot menu at all that imgfix can change."""
        return bool(self.menus or self.legacy or self.entries)


def read_bootloader(tree: Tree, storage: Storage) -> Bootloader:
    """Return what boots the guest. A grub.cfg under the ESP's mount point counts only where the disk has an ESP."""
    grub2 = [GrubConfig(path, False, _leads_to(tree, path)) for path in _files(tree, _GRUB2)]
    known = {config.path for config in grub2}
    if storage.has_esp:
        on_esp = (path for path in _files(tree, _GRUB2_ON_ESP) if path not in known)
        grub2 += [GrubConfig(path, True, _leads_to(tree, path)) for path in on_esp]
    boots_grub2 = any(config.leads_to is None for config in grub2)
    return Bootloader(
        grub2=tuple(grub2),
        generator=next((path for path in _GENERATORS if guest.is_file(tree, path)), None),
        legacy=() if boots_grub2 else _files(tree, (*_LEGACY, *_LEGACY_ON_ESP)),
        entries=_files(tree, _ENTRIES),
        unified=_files(tree, _UNIFIED),
        systemd_boot=bool(_files(tree, _SYSTEMD_BOOT)),
        others=tuple((name, found[0]) for name, paths in _OTHERS if (found := _files(tree, paths))),
    )


def _leads_to(tree: Tree, path: str) -> str | None:
    return grubcfg.forwards_to(guest.read_text(tree, path))


def _files(tree: Tree, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the regular files that match, links followed, each once."""
    found = (path for pattern in patterns for path in guest.glob(tree, pattern) if guest.is_file(tree, path))
    return tuple(dict.fromkeys(guest.resolve(tree, path) for path in found))
