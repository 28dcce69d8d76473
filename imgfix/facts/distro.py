"""distro: which Linux this is, from os-release or from what came before it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from imgfix import tree as guest
from imgfix.errors import GuestError, ParseError
from imgfix.facts.model import Distro
from imgfix.textedit import fstab
from imgfix.tree import Tree

#: https://www.freedesktop.org/software/systemd/man/latest/os-release.html: the first that exists counts.
OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")

#: Profile family -> the ID values of its members. What is in no row goes by its ID_LIKE, in that order.
FAMILIES: dict[str, tuple[str, ...]] = {
    "rhel": (
        *("rhel", "centos", "almalinux", "rocky", "ol", "eurolinux", "scientific", "virtuozzo", "cloudlinux"),
        *("miraclelinux", "circle", "navylinux", "springdale", "redhat"),
    ),
    "fedora": ("fedora",),
    # Not linuxmint: its Debian edition has the same ID, and ID_LIKE tells the two apart.
    "ubuntu": ("ubuntu", "pop", "zorin", "elementary", "neon", "tuxedo"),
    "debian": ("debian", "kali", "devuan", "raspbian", "parrot", "pureos", "proxmox"),
    "suse": (
        *("sles", "sled", "sles_sap", "sle_hpc", "suse", "sle-micro", "sl-micro", "opensuse"),
        *("opensuse-leap", "opensuse-tumbleweed", "opensuse-leap-micro", "opensuse-microos"),
    ),
    "amazon": ("amzn",),
    "azurelinux": ("azurelinux", "mariner"),
}

#: What derivatives name their base by in os-release (UBUNTU_CODENAME, DEBIAN_CODENAME) and /etc/debian_version.
#: https://wiki.ubuntu.com/Releases, https://www.debian.org/releases/
_UBUNTU = (
    *("trusty 14.04", "xenial 16.04", "bionic 18.04", "cosmic 18.10", "disco 19.04", "eoan 19.10"),
    *("focal 20.04", "groovy 20.10", "hirsute 21.04", "impish 21.10", "jammy 22.04", "kinetic 22.10"),
    *("lunar 23.04", "mantic 23.10", "noble 24.04", "oracular 24.10", "plucky 25.04", "questing 25.10"),
    "resolute 26.04",
)
_DEBIAN = (
    *("wheezy 7", "jessie 8", "stretch 9", "buster 10", "bullseye 11", "bookworm 12", "trixie 13"),
    *("forky 14", "duke 15"),
)
CODENAMES: dict[str, dict[str, str]] = {
    family: dict(row.split() for row in rows) for family, rows in (("ubuntu", _UBUNTU), ("debian", _DEBIAN))
}

DEBIAN_VERSION = "/etc/debian_version"

_FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}


@dataclass(frozen=True, slots=True)
class _Release:
    """One way in which a release file of old names the distribution; group 1 is the version."""

    path: str
    pattern: str
    id: str


#: EL 6, SLES 11 and others older than os-release. The special names come before the general ones.
_RELEASES: tuple[_Release, ...] = (
    _Release("/etc/oracle-release", r"Oracle Linux.* release ([\d.]+)", "ol"),
    _Release("/etc/centos-release", r"CentOS.* release ([\d.]+)", "centos"),
    _Release("/etc/redhat-release", r"CentOS.* release ([\d.]+)", "centos"),
    _Release("/etc/redhat-release", r"Scientific Linux.* release ([\d.]+)", "scientific"),
    _Release("/etc/redhat-release", r"CloudLinux.* release ([\d.]+)", "cloudlinux"),
    _Release("/etc/redhat-release", r"(?:Red Hat Enterprise|Enterprise) Linux.* release ([\d.]+)", "rhel"),
    _Release("/etc/redhat-release", r"Fedora.* release ([\d.]+)", "fedora"),
    _Release("/etc/system-release", r"Amazon Linux.* release ([\d.]+)", "amzn"),
    _Release("/etc/SuSE-release", r"SUSE Linux Enterprise.* ([\d.]+)", "sles"),
    _Release("/etc/SuSE-release", r"(?i)openSUSE.* ([\d.]+)", "opensuse"),
    _Release("/etc/debian_version", r"([\d.]+)", "debian"),
)

_FIELDS = ("ID", "ID_LIKE", "VERSION_ID", "PRETTY_NAME", "PLATFORM_ID", "UBUNTU_CODENAME", "DEBIAN_CODENAME")

#: Distributions whose own version is the family's.
_COUNT_THEMSELVES = frozenset({"ubuntu", "debian"})

_ROOT_MARKS = ("/etc/fstab", "/sbin/init", "/usr/lib/systemd", "/lib")


def read_distro(tree: Tree) -> Distro:
    """Return the guest's distribution, `family` being the profile family it belongs to.

    Raises GuestError where no file names one, where it belongs to no family, or where os-release cannot be
    parsed (ParseError, with the line).
    """
    for path in OS_RELEASE:
        if guest.is_file(tree, path):
            return _from_os_release(tree, guest.read_text(tree, path), path)
    for row in _RELEASES:
        if guest.is_file(tree, row.path):
            text = guest.read_text(tree, row.path)
            if match := re.match(row.pattern, text):
                version = _suse_version(text, match[1])
                return Distro(row.id, (), version, text.split("\n")[0].strip(), _FAMILY_OF[row.id])
    raise GuestError(
        f"no {OS_RELEASE[0]} in the guest, and no release file that names its distribution",
        hint="imgfix needs the file system that holds the root folder of an installed Linux",
    )


def is_linux_root(tree: Tree) -> bool:
    """Tell whether this file system looks like the root of an installed Linux, by names alone.

    Where /usr is a volume of its own, os-release is a link to what is not there yet.
    """
    paths = (*OS_RELEASE, *(row.path for row in _RELEASES))
    named = any(guest.is_file(tree, path) for path in paths)
    named = named or (tree.lstat(OS_RELEASE[0]) is not None and _usr_is_apart(tree))
    return named and any(tree.lstat(guest.resolve(tree, mark)) is not None for mark in _ROOT_MARKS)


def _usr_is_apart(tree: Tree) -> bool:
    if not guest.is_file(tree, "/etc/fstab"):
        return False
    try:
        lines = fstab.parse(guest.read_text(tree, "/etc/fstab"))
    except ParseError:
        return False
    return any(line.entry.file.rstrip("/") == "/usr" for line in lines if line.entry)


def family_of(distro_id: str, id_like: tuple[str, ...]) -> str:
    """Return the profile family of os-release's ID and ID_LIKE; raises GuestError where there is none."""
    for name in (distro_id, *id_like):
        if name in _FAMILY_OF:
            return _FAMILY_OF[name]
    raise GuestError(
        f"the guest's distribution {distro_id!r} (ID_LIKE {' '.join(id_like)!r}) is not supported",
        hint=f"supported are {', '.join(sorted(_FAMILY_OF))} and what names one of them in ID_LIKE",
    )


def _from_os_release(tree: Tree, text: str, path: str) -> Distro:
    fields = dict.fromkeys(_FIELDS, "")
    for number, line in enumerate(text.split("\n"), 1):
        key, equals, value = line.strip().partition("=")
        if equals and key in fields:
            fields[key] = _unquote(value, path, number)
    distro_id, id_like = fields["ID"].lower() or "linux", tuple(fields["ID_LIKE"].lower().split())
    pretty = fields["PRETTY_NAME"] or f"{distro_id} {fields['VERSION_ID']}".strip()
    family = family_of(distro_id, id_like)
    base = _base_version(tree, family, fields) if distro_id not in _COUNT_THEMSELVES else None
    return Distro(distro_id, id_like, fields["VERSION_ID"], pretty, family, base)


def _base_version(tree: Tree, family: str, fields: dict[str, str]) -> str | None:
    """Return what a derivative is made from, in the counting of its family; see Distro."""
    if family == "rhel":
        # Anolis OS 8 says platform:an8, Alibaba Cloud Linux 3 platform:al8; some that count as EL say nothing.
        match = re.fullmatch(r"platform:[a-z]+(\d+)", fields["PLATFORM_ID"])
        return match[1] if match and fields["ID"].lower() not in FAMILIES["rhel"] else None
    names = CODENAMES.get(family, {})
    codename = fields["UBUNTU_CODENAME"] if family == "ubuntu" else fields["DEBIAN_CODENAME"]
    if not codename and family == "debian" and guest.is_file(tree, DEBIAN_VERSION):
        # "12.5", "trixie/sid", "kali-rolling"
        codename = guest.read_text(tree, DEBIAN_VERSION).strip().partition("/")[0]
        if re.fullmatch(r"\d+(\.\d+)*", codename):
            return codename
    return names.get(codename, "") if codename else None


def _unquote(value: str, path: str, line: int) -> str:
    """Undo the shell quoting of one assignment; a comment or a second word is none of the value."""
    try:
        words = shlex.split(value, comments=True)
    except ValueError as error:
        message = (
            f"{path}: line {line}: {value!r} cannot be parsed ({error}), needed to know the distribution"
        )
        raise ParseError(message, line=line) from error
    return words[0] if words else ""


def _suse_version(text: str, version: str) -> str:
    """SuSE-release keeps the service pack on a line of its own."""
    patch = re.search(r"(?m)^PATCHLEVEL *= *([1-9]\d*)", text)
    return f"{version}.{patch[1]}" if patch else version
