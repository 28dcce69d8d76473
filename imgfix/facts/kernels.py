"""kernels: the installed, bootable kernels, their initramfs images, and where each has its drivers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from imgfix import tree as guest
from imgfix.errors import GuestError
from imgfix.facts.initramfs import module_name
from imgfix.facts.model import DriverState, InitramfsFacts, Kernel
from imgfix.textedit import bls
from imgfix.tree import Tree

#: The first that exists is the one; /lib is a link to usr/lib where both do.
MODULE_ROOTS = ("/lib/modules", "/usr/lib/modules")

#: Where a kernel's image may be; the last is where Fedora and SUSE keep the original.
IMAGES = (
    "/boot/vmlinuz-{release}",
    "/boot/vmlinux-{release}",
    "/boot/Image-{release}",
    "/boot/vmlinuz-{release}.gz",
    "{modules}/vmlinuz",
)

#: What distributions name the initramfs of a kernel. Backups (.bak, .old) and kdump images match none.
INITRAMFSES = (
    "/boot/initrd.img-{release}",  # Debian, Ubuntu, Azure Linux 2
    "/boot/initramfs-{release}.img",  # EL 6 and later, Fedora, Amazon Linux, Azure Linux 3
    "/boot/initrd-{release}",  # SUSE
    "/boot/initrd-{release}.img",  # EL 5
)

#: Where the ESP is mounted; its entries name files from there:
#: https://uapi-group.org/specifications/specs/boot_loader_specification/
ESPS = ("/boot/efi", "/efi", "/boot")

_GRUB_MENUS = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg")

CONFIGS = ("/boot/config-{release}", "{modules}/config")

#: The kernel's option of each driver, for kernels without modules.builtin (before 2.6.33).
CONFIG_OPTIONS: dict[str, str] = {
    "hv_vmbus": "HYPERV",
    "hv_storvsc": "HYPERV_STORAGE",
    "hv_netvsc": "HYPERV_NET",
    "hv_utils": "HYPERV_UTILS",
    "hv_balloon": "HYPERV_BALLOON",
    "hyperv_keyboard": "HYPERV_KEYBOARD",
    "hid_hyperv": "HID_HYPERV_MOUSE",
    "hyperv_fb": "FB_HYPERV",
    "hyperv_drm": "DRM_HYPERV",
    "pci_hyperv": "PCI_HYPERV",
    "mlx4_core": "MLX4_CORE",
    "mlx4_en": "MLX4_EN",
    "mlx5_core": "MLX5_CORE",
    "mana": "MICROSOFT_MANA",
    "nvme": "BLK_DEV_NVME",
    "nvme_core": "NVME_CORE",
    "sd_mod": "BLK_DEV_SD",
    "sr_mod": "BLK_DEV_SR",
    "dm_mod": "BLK_DEV_DM",
    "ata_piix": "ATA_PIIX",
    "vfat": "VFAT_FS",
    "udf": "UDF_FS",
    "isofs": "ISO9660_FS",
    "ext4": "EXT4_FS",
    "xfs": "XFS_FS",
    "btrfs": "BTRFS_FS",
    "cifs": "CIFS",
}

#: A kernel has some 700 module folders; more than this is no kernel, and each costs a call to the appliance.
FOLDER_LIMIT = 5000

_RELEASE = re.compile(r"\d+\.\d+[^/]*")
_NOT_BOOTED = re.compile("kdump|rescue")
_BUILTIN = re.compile(r"CONFIG_(\w+)=y")


def read_kernels(
    tree: Tree, drivers: Sequence[str], read_image: Callable[[str], InitramfsFacts]
) -> tuple[Kernel, ...]:
    """Return the guest's kernels, oldest first, each with the state of `drivers` (hv_vmbus, ...).

    A kernel is a folder of modules with a kernel image: folders that an upgrade left behind, kdump kernels
    and rescue images are none. `read_image` reads one initramfs; it gets a path free of links, and the facts
    get the path under which the boot loader knows the image. Raises GuestError on what cannot be read.
    """
    root = next((path for path in MODULE_ROOTS if guest.is_dir(tree, path)), MODULE_ROOTS[0])
    releases = (name for name in guest.names(tree, root) if _is_release(name))
    found = (
        _kernel(tree, root, release, drivers, read_image) for release in sorted(releases, key=release_key)
    )
    return tuple(kernel for kernel in found if kernel is not None)


def release_key(release: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts kernel releases by age: numbers by value and behind letters, as rpm does."""
    tokens = re.findall(r"[0-9]+|[a-zA-Z]+", release)
    return tuple((1, int(token), "") if token.isdigit() else (0, 0, token) for token in tokens)


def _is_release(name: str) -> bool:
    return _RELEASE.fullmatch(name) is not None and _NOT_BOOTED.search(name) is None


def _kernel(
    tree: Tree, root: str, release: str, drivers: Sequence[str], read_image: Callable[[str], InitramfsFacts]
) -> Kernel | None:
    modules = f"{root}/{release}"
    image = _first_file(tree, IMAGES, release, modules)
    if image is None:
        return None
    path = _of_entry(tree, release) or _first_file(tree, INITRAMFSES, release, modules)
    initramfs = None if path is None else replace(read_image(guest.resolve(tree, path)), path=path)
    states, has_modules_dep = _drivers(tree, release, modules, drivers)
    needs = _needs(tree, f"{modules}/modules.dep", frozenset(drivers))
    return Kernel(release, image, initramfs, states, has_modules_dep, needs)


def _of_entry(tree: Tree, release: str) -> str | None:
    """Return the initramfs that an entry of systemd-boot loads with this kernel: a copy on the ESP, if there is one.

    Where GRUB has its menu in /boot, entries on the ESP are left-overs.
    """
    if any(guest.is_file(tree, path) for path in _GRUB_MENUS):
        return None
    for esp in ESPS:
        for entry in guest.glob(tree, f"{esp}/loader/entries/*.conf"):
            text = guest.read_text(tree, entry)
            images = (bls.get(text, "initrd") or "").split()
            # Several images are unpacked one over the other; the kernel's own comes last, behind microcode.
            if bls.boots(text, release) and images and guest.is_file(tree, esp + images[-1]):
                return esp + images[-1]
    return None


def _first_file(tree: Tree, patterns: Sequence[str], release: str, modules: str) -> str | None:
    paths = (pattern.format(release=release, modules=modules) for pattern in patterns)
    return next((path for path in paths if guest.is_file(tree, path)), None)


def _drivers(
    tree: Tree, release: str, modules: str, drivers: Sequence[str]
) -> tuple[tuple[tuple[str, DriverState], ...], bool]:
    """Return the state of each driver, and whether depmod has run."""
    builtin = _builtin(tree, release, modules, drivers)
    loadable = _listed(tree, f"{modules}/modules.dep")
    has_modules_dep = bool(loadable)
    if not has_modules_dep and not builtin.issuperset(drivers):
        loadable = frozenset(_walk(tree, guest.resolve(tree, modules)))
    states = dict.fromkeys(loadable, DriverState.MODULE) | dict.fromkeys(builtin, DriverState.BUILTIN)
    return tuple((name, states.get(name, DriverState.MISSING)) for name in drivers), has_modules_dep


def _builtin(tree: Tree, release: str, modules: str, drivers: Sequence[str]) -> frozenset[str]:
    if guest.is_file(tree, f"{modules}/modules.builtin"):
        return _listed(tree, f"{modules}/modules.builtin")
    config = _first_file(tree, CONFIGS, release, modules)
    options = set(_BUILTIN.findall(guest.read_text(tree, config))) if config else set()
    return frozenset(name for name in drivers if CONFIG_OPTIONS.get(name) in options)


def _listed(tree: Tree, path: str) -> frozenset[str]:
    """Return the modules that the lines of modules.dep or modules.builtin start with, if it exists."""
    if not guest.is_file(tree, path):
        return frozenset()
    lines = guest.read_text(tree, path).split("\n")
    return frozenset(name for line in lines if (name := module_name(line.partition(":")[0].strip())))


def _needs(tree: Tree, path: str, drivers: frozenset[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what the lines of modules.dep for `drivers` list behind the colon: all dependencies."""
    if not guest.is_file(tree, path):
        return ()
    found: dict[str, tuple[str, ...]] = {}
    for line in guest.read_text(tree, path).split("\n"):
        head, colon, rest = line.partition(":")
        if colon and rest and (name := module_name(head.strip())) in drivers and name is not None:
            found[name] = tuple(needed for word in rest.split() if (needed := module_name(word)))
    return tuple(sorted(found.items()))


def _walk(tree: Tree, folder: str) -> Iterator[str]:
    """Yield the modules below `folder`, one listdir a folder: a name without `.ko` is tried as one.

    Raises GuestError beyond FOLDER_LIMIT folders.
    """
    folders, seen = [folder], 0
    while folders:
        seen += 1
        if seen > FOLDER_LIMIT:
            raise GuestError(
                f"{folder}: more than {FOLDER_LIMIT} folders, looked for drivers as modules.dep is missing"
            )
        here = folders.pop()
        for name in tree.listdir(here):
            if module := module_name(name):
                yield module
            elif not name.startswith("modules.") and name not in ("build", "source", "vmlinuz", "config"):
                folders.append(f"{here}/{name}")
