"""Cases of steps as YAML: a guest, the step's expected decisions, and what a guest is like when they are done.

See tests/cases/README.md for the format.
"""

from __future__ import annotations

import base64
import difflib
import io
import lzma
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from imgfix import profile_load
from imgfix.apply import FINISHES
from imgfix.change import (
    Advice,
    AppendFile,
    Copy,
    Decision,
    Edit,
    InstallPackages,
    Link,
    Noop,
    Rebuild,
    RebuildKind,
    Remove,
    RemovePackages,
    RemoveSwapDevice,
    RunCommand,
    SetAttributes,
    WriteFile,
)
from imgfix.facts import dpkg
from imgfix.facts.initramfs import read_initramfs
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
from imgfix.plan import Plan
from imgfix.profile import Profile
from imgfix.steps.packages import Packages
from imgfix.steps.protocol import Follower, Step
from imgfix.tree import Kind
from tests import mkconfig
from tests.facts import cpio_reader, efi_writer
from tests.facts.cpio_writer import Item
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
_DRIVERS = ("hv_vmbus", "hv_storvsc", "hv_netvsc")
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
        modules=frozenset(data.get("holds", _DRIVERS)),
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


# -- expectations


def differences(case: Case, plan: Plan) -> list[str]:
    """Return in words where `plan` is not what the case expects."""
    found = [i.decision for i in plan.items if not isinstance(i.decision, Noop)]
    reasons = [i.decision.reason for i in plan.items if isinstance(i.decision, Noop)]
    problems = [f"no Noop says {part!r}: {reasons}" for part in case.noops if part not in "\n".join(reasons)]
    if [_named(d) for d in found] != [_head(e) for e in case.expect]:
        lines = difflib.ndiff([str(_head(e)) for e in case.expect], [str(_named(d)) for d in found])
        return [*problems, "the decisions (- expected, + planned):", *lines]
    for decision, wanted in zip(found, case.expect, strict=True):
        if isinstance(decision, WriteFile):
            problems += _content_differences(case, decision, wanted)
        if isinstance(decision, Rebuild) and wanted.get("why", "") not in decision.reason:
            problems.append(f"the reason is {decision.reason!r}, expected {wanted['why']!r}")
    return problems


def _head(wanted: Data) -> dict[str, Any]:
    of_content = ("content", "added", "removed", "why") + (("mode",) if "write" in wanted else ())
    return {k: v for k, v in wanted.items() if k not in of_content}


def _named(decision: Decision) -> dict[str, Any]:
    """Return a decision as a case writes it, without a file's content."""
    match decision:
        case WriteFile(path):
            return {"write": path}
        case Remove(path):
            return {"remove": path}
        case Link(path, target):
            return {"link": path, "to": target}
        case Copy(source, path):
            return {"copy": source, "to": path}
        case AppendFile(path, content):
            return {"append": path, "holds": {e.path: _shown(e) for e in cpio_reader.read(content)}}
        case SetAttributes(path, mode, uid, gid):
            return {"set": path, "mode": mode, "owner": f"{uid}:{gid}"}
        case RunCommand(name, argv):
            return {"run": list(argv), "for": name}
        case RemoveSwapDevice(device, partition, volume):
            return {"swap": device, **({"volume": True} if volume else {"partition": partition})}
        case InstallPackages(manager, packages, _, files, parallel):
            local = {"files": [*files, *parallel]} if files or parallel else {}
            return {"install": list(packages), "with": manager, **local}
        case RemovePackages(tool, packages):
            return {"purge": list(packages), "with": tool}
        case Rebuild(kind, target, commands, _, finish):
            made = {"rebuild": kind.value, "of": target, "by": [" ".join(c) for c in commands]}
            return {**made, **({"finish": finish.value} if finish else {})}
        case Advice(text):
            return {"advice": text}
        case Noop(reason):
            return {"noop": reason}


def _shown(entry: Item) -> str:
    """A case tells an appended file by its text; a folder, a link and an index by what they are."""
    if entry.path.endswith(".bin"):
        return "index"
    if entry.path.endswith(".xz"):
        return f"xz of {lzma.decompress(entry.content).decode()}"
    kind = "folder" if stat.S_ISDIR(entry.mode) else "link to " if stat.S_ISLNK(entry.mode) else ""
    return kind + entry.content.decode()


def _content_differences(case: Case, decision: WriteFile, wanted: Data) -> Iterable[str]:
    path = decision.path
    if "mode" in wanted and decision.mode != wanted["mode"]:
        yield f"{path}: mode {decision.mode:o}, expected {wanted['mode']:o}"
    text = decision.content.decode("utf-8", "surrogateescape")
    if "content" in wanted:
        if text != wanted["content"]:
            yield f"{path} differs:\n" + "\n".join(
                difflib.ndiff(wanted["content"].split("\n"), text.split("\n"))
            )
        return
    assert {"added", "removed"} & set(wanted), f"{path}: the case expects neither content nor lines"
    entry = case.tree.lstat(path)
    old = case.tree.read_file(path).decode("utf-8", "surrogateescape") if entry else ""
    lines = [line for line in difflib.ndiff(old.split("\n"), text.split("\n")) if line[0] in "+-"]
    for key, sign in (("added", "+ "), ("removed", "- ")):
        found = [line.removeprefix(sign) for line in lines if line.startswith(sign)]
        found = [line for line in found if line.strip("#")]
        if found != list(wanted.get(key, ())):
            yield f"{path}: lines {key}: {found}, expected {wanted.get(key, [])}"


# -- what is so when it is done


def done(case: Case, plan: Plan) -> tuple[Facts, FakeTree]:
    """Carry `plan` out on the case's guest, its generators included."""
    tree, facts = case.tree.edited(plan.edits), case.facts
    for rebuild in plan.rebuilds:
        if rebuild.kind is RebuildKind.GRUB_CONFIG:
            made = case.regenerated or mkconfig.regenerated(tree, rebuild.target, facts.storage)
            made = FINISHES[rebuild.finish](made) if rebuild.finish else made
            tree = tree.edited([WriteFile(rebuild.target, made.encode(), "")])
        else:
            facts = replace(facts, kernels=tuple(_rebuilt(k, rebuild) for k in facts.kernels))
    for edit in plan.edits:
        if isinstance(edit, AppendFile):
            facts = replace(facts, kernels=tuple(_appended(k, edit) for k in facts.kernels))
    for command in plan.commands:
        tree = tree.edited(_effects(command, tree))
    gone = {swap.device for swap in plan.swap_devices}
    storage = replace(
        facts.storage,
        filesystems=tuple(f for f in facts.storage.filesystems if f.device not in gone),
        logical_volumes=tuple(v for v in facts.storage.logical_volumes if v.device not in gone),
    )
    installed = tuple(Package(n.split(" | ")[0], "999") for i in plan.installs for n in i.packages)
    purged = {name for removal in plan.removals for name in removal.packages}
    kept = tuple(
        package for package in facts.packages if package.name not in (*purged, *(p.name for p in installed))
    )
    return replace(facts, storage=storage, packages=(*kept, *installed)), _without(tree, purged)


def _without(tree: FakeTree, packages: set[str]) -> FakeTree:
    """Take packages out of dpkg's list."""
    if not packages:
        return tree
    stanzas = tree.read_file(dpkg.STATUS).decode().split("\n\n")
    kept = [stanza for stanza in stanzas if dpkg.fields_of(stanza).get("package") not in packages]
    return tree.edited([WriteFile(dpkg.STATUS, "\n\n".join(kept).encode(), "")])


def _effects(command: RunCommand, tree: FakeTree) -> list[Edit]:
    """What a command of the profile's that keeps its word does, and what imgfix writes down after it."""
    made = [WriteFile(path, b"made", "") for path in (command.creates,) if path]
    gone = [Remove(path, "") for path in (command.removes,) if path]
    stamp = [WriteFile(command.stamp, command.token.encode(), "")] if command.stamp else []
    return [*made, *gone, *stamp]


def _rebuilt(kernel: Kernel, rebuild: Rebuild) -> Kernel:
    if rebuild.kind is RebuildKind.DEPMOD:
        return replace(kernel, modules_dep=kernel.modules_dep or kernel.release == rebuild.target)
    image = kernel.initramfs
    if image is None or image.path != rebuild.target:
        return kernel
    return replace(kernel, initramfs=replace(image, modules=frozenset(_DRIVERS), hooks=()))


def _appended(kernel: Kernel, edit: AppendFile) -> Kernel:
    """Return the kernel with what the reader of initramfs images finds in the appended archive."""
    image = kernel.initramfs
    if image is None or image.path != edit.path:
        return kernel
    added = read_initramfs(io.BytesIO(edit.content), edit.path, len(edit.content))
    covered = {entry.path for entry in cpio_reader.read(edit.content)}
    hooks = {p: t for p, t in image.hooks if p not in covered} | dict(added.hooks)
    return replace(
        kernel, initramfs=replace(image, modules=image.modules | added.modules, hooks=tuple(hooks.items()))
    )
