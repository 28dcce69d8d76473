"""Cases of steps as YAML: a guest, and the decisions that a step is expected to make about it.

See tests/cases/README.md for the format.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imgfix import profile_load
from imgfix.facts import dpkg
from imgfix.facts.model import (
    Array,
    Distro,
    DriverState,
    Encrypted,
    Facts,
    Filesystem,
    InitramfsFacts,
    InitramfsLayout,
    Kernel,
    LogicalVolume,
    Package,
    Storage,
    Verdict,
)
from imgfix.facts.packages import read_packages
from imgfix.facts.reader import DRIVERS
from imgfix.packaging import debian
from imgfix.packaging.offer import Offer
from imgfix.profile import Profile
from imgfix.steps.packages import Packages
from imgfix.steps.protocol import Follower, Step
from imgfix.tree import Kind
from tests.facts import efi_writer
from tests.fake_tree import FakeEntry, FakeTree

FOLDER = Path(__file__).parent / "cases"

Data = Mapping[str, Any]

_KEYS = {
    "about",
    "profile",
    "settings",
    "facts",
    "files",
    "expect",
    "noops",
    "error",
    "regenerated",
    "folder",
}
REBUILT = ("hv_vmbus", "hv_storvsc", "hv_netvsc")
_ASKED = (*DRIVERS, "mlx4_core")
_MIB = 1 << 20

#: What a guest of each family is like unless the case says otherwise.
_RELEASES = {"debian": "6.1.0-18-amd64", "rhel": "5.14.0-427.13.1.el9_4.x86_64"}
_IMAGES = {"debian": "/boot/initrd.img-{}", "rhel": "/boot/initramfs-{}.img"}
_VERSIONS = {"debian": "12", "rhel": "9.4"}
_RELEASES |= {"suse": "6.4.0-150600.21-default"}
_IMAGES |= {"suse": "/boot/initrd-{}"}
_VERSIONS |= {"suse": "15.6"}
_RELEASES |= {
    "ubuntu": "6.8.0-45-generic",
    "fedora": "6.11.4-301.fc41.x86_64",
    "amazon": "6.1.112-122.189.amzn2023.x86_64",
    "azurelinux": "6.6.57.1-2.azl3",
}
_IMAGES |= {"ubuntu": _IMAGES["debian"], **dict.fromkeys(("fedora", "amazon", "azurelinux"), _IMAGES["rhel"])}
_VERSIONS |= {"ubuntu": "24.04", "fedora": "41", "amazon": "2023", "azurelinux": "3.0"}
_ROOT = {"device": "/dev/sda1", "type": "ext4", "uuid": "0a3407de-014b-458b-b5c1-848e92a327a3", "at": "/"}


@dataclass(frozen=True, slots=True)
class Case:
    """One case: `expect` are the changes and advice in order, `noops` parts of reasons, `error` of a message."""

    profile: Profile
    facts: Facts
    tree: FakeTree
    expect: tuple[Data, ...]
    noops: tuple[str, ...]
    error: tuple[str, ...]
    regenerated: str | None
    offer: Offer | None

    def steps(self, steps: tuple[Step | Follower, ...]) -> tuple[Step | Follower, ...]:
        """Return the steps, that of packages with the case's folder."""
        return tuple(Packages(self.offer) if isinstance(step, Packages) else step for step in steps)


def paths() -> tuple[Path, ...]:
    """Return the files of all cases."""
    return tuple(sorted(FOLDER.rglob("*.yaml")))


def read(path: Path, scratch: Path) -> Case:
    """Read a case; `scratch` takes the profile if it is written in the case."""
    data: Data = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    assert set(data) <= _KEYS, f"unknown keys: {sorted(set(data) - _KEYS)}"
    profile = _profile(data.get("profile", "debian"), data.get("settings", ()), scratch)
    facts = data.get("facts", {})
    tree = FakeTree({path: _entry(value) for path, value in data.get("files", {}).items()})
    family = facts.get("family") or (profile.match.family if profile.match else "debian")
    return Case(
        profile=profile,
        facts=_facts(facts, family, tree),
        tree=tree,
        expect=tuple(data.get("expect", ())),
        noops=tuple(data.get("noops", ())),
        error=tuple(data.get("error", ())),
        regenerated=data.get("regenerated"),
        offer=_offer(data["folder"]) if "folder" in data else None,
    )


def _offer(texts: Mapping[str, str]) -> Offer:
    """Make a folder of control files: file name to text."""
    packages = (debian.package(dpkg.fields_of(text), name, file=name) for name, text in texts.items())
    return Offer("debs", tuple(packages))


def _profile(wanted: str | Data, settings: Sequence[str], scratch: Path) -> Profile:
    if isinstance(wanted, str):
        return profile_load.load(wanted, settings)
    path = scratch / "case.yaml"
    path.write_text(yaml.safe_dump(dict(wanted), sort_keys=False))
    return profile_load.load(str(path), settings)


def _entry(value: str | Data) -> FakeEntry:
    if isinstance(value, str):
        return FakeEntry(value)
    data = dict(value)
    if "efi" in data:
        return FakeEntry(getattr(efi_writer, data.pop("efi"))(**data))
    owner = {"mode": data.pop("mode", None), "uid": data.pop("uid", 0), "gid": data.pop("gid", 0)}
    match data:
        case {"link": target, **rest}:
            found = FakeEntry(kind=Kind.LINK, target=target, **owner)
        case {"folder": None, **rest}:
            found = FakeEntry(kind=Kind.DIRECTORY, **owner)
        case {"device": None, **rest}:
            found = FakeEntry(kind=Kind.OTHER, **owner)
        case {"base64": content, **rest}:
            found = FakeEntry(base64.b64decode(content), **owner)
        case {"text": content, **rest}:
            # An environment block is padded; nobody writes a thousand hashes into a case.
            size = rest.pop("padded", 0)
            found = FakeEntry(content + "#" * (size - len(content)), **owner)
        case _:
            raise AssertionError(f"no file: {value}")
    assert not rest, f"unknown keys of a file: {rest}"
    return found


# -- facts


def _facts(data: Data, family: str, tree: FakeTree) -> Facts:
    version = str(data.get("version", _VERSIONS[family]))
    return Facts(
        distro=Distro(data.get("id", family), (), version, f"{family} {version}", family),
        kernels=tuple(_kernel(k, family) for k in data.get("kernels", [{}])),
        packages=tuple(Package(name, str(v)) for name, v in data["packages"].items())
        if "packages" in data
        else read_packages(tree),
        storage=Storage(
            scheme=data.get("scheme", "gpt"),
            has_esp=data.get("efi") is not None,
            filesystems=tuple(_filesystem(f) for f in data.get("filesystems", [_ROOT])),
            logical_volumes=tuple(_volume(v) for v in data.get("volumes", ())),
            esp=data.get("efi"),
            unlisted=tuple(data.get("unlisted", ())),
            bios=Verdict(
                data.get("bios", True), ("boot code" if data.get("bios", True) else "no boot code",)
            ),
            encrypted=tuple(Encrypted(**volume) for volume in data.get("encrypted", ())),
            arrays=tuple(_array(array) for array in data.get("arrays", ())),
            absent=tuple(data.get("absent", ())),
            inactive=tuple(data.get("inactive", ())),
            hibernated=tuple(data.get("hibernated", ())),
            replayed=tuple(data.get("replayed", ())),
            sealed=data.get("sealed", False),
        ),
        labelled=data.get("labelled", False),
    )


def _kernel(data: Data, family: str) -> Kernel:
    release = data.get("release", _RELEASES[family])
    states = {
        d: (
            DriverState.BUILTIN
            if d in data.get("builtin", ())
            else DriverState.MISSING
            if d in data.get("missing", ())
            else DriverState.MODULE
        )
        for d in _ASKED
    }
    image = data.get("initramfs", {})
    return Kernel(
        release=release,
        image=data.get("image", f"/boot/vmlinuz-{release}"),
        initramfs=None if image is None else _initramfs(image, _IMAGES[family].format(release)),
        drivers=tuple(states.items()),
        modules_dep=data.get("modules_dep", True),
        needs=tuple((name, tuple(needed)) for name, needed in data.get("needs", {}).items()),
    )


def _initramfs(data: Data, path: str) -> InitramfsFacts:
    return InitramfsFacts(
        path=data.get("path", path),
        size=data.get("mib", 30) * _MIB,
        compression="zstd",
        modules=frozenset(data.get("holds", REBUILT)),
        hooks=tuple(data.get("hooks", {}).items()),
        layout=_layout(data["layout"]) if "layout" in data else InitramfsLayout(),
    )


def _layout(data: Data) -> InitramfsLayout:
    """`at` is the folder of modules, `files` what is in it; folders are what the files need."""
    files = frozenset(f"{data['at']}/{path}" for path in data.get("files", ()))
    paths = [*files, f"{data['at']}/modules.dep"]
    folders = {"/".join(p.split("/")[:n]) for p in paths for n in range(1, p.count("/") + 1)}
    return InitramfsLayout(
        generator=data.get("generator", "dracut"),
        tail=data.get("tail", "gzip"),
        padding=data.get("padding", 0),
        roots=tuple(data.get("roots", [data["at"]])),
        files=files,
        folders=frozenset(folders),
        preload=data.get("preload", ""),
    )


def _filesystem(data: Data) -> Filesystem:
    number = re.fullmatch(r"/dev/sda(\d+)", data["device"])
    return Filesystem(
        device=data["device"],
        fstype=data.get("type", "ext4"),
        uuid=data.get("uuid", ""),
        label=data.get("label", ""),
        size=1024 * _MIB,
        partition=int(number[1]) if number else None,
        mountpoint=data.get("at"),
        free=data["free"] * _MIB if "free" in data else None,
    )


def _array(data: Data) -> Array:
    return Array(**{**data, "names": tuple(data.get("names", ()))})


def _volume(name: str) -> LogicalVolume:
    vg, _, lv = name.partition("/")
    return LogicalVolume(vg, lv, f"/dev/{name}")
