"""Evidence: where in the guest a decision, or a fact, can be seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from imgfix.change import (
    AppendFile,
    Copy,
    Decision,
    InstallPackages,
    Link,
    Rebuild,
    RebuildKind,
    Remove,
    RemovePackages,
    RemoveSwapDevice,
    SetAttributes,
    WriteFile,
)
from imgfix.difference import Difference
from imgfix.disk.size import describe
from imgfix.facts.model import DriverState, Facts, Kernel
from imgfix.readiness.model import Evidence, EvidenceKind

#: Sentences about a file begin with its name, and the line where one is to blame.
_FILE = re.compile(r"(/[^\s:`,;]+)(?::(\d+))?: ")
_KERNEL = re.compile(r"kernel (\d\S+)|(\d\S+): its initramfs")
#: Characters of a guest's line that a report shows.
_LONGEST = 160

_HYPER_V = ("hv_vmbus", "hv_storvsc", "hv_netvsc")
_SSH = ("openssh-server", "openssh")
_AGENT = ("walinuxagent", "waagent", "WALinuxAgent", "python-azure-agent", "python3-azure-agent")


def of_decision(
    decision: Decision, differences: Mapping[str, Difference], facts: Facts
) -> tuple[Evidence, ...]:
    """Return where one sees what a change is about; sentences are told by of_text."""
    match decision:
        case WriteFile(path) | Remove(path) | Link(path) | SetAttributes(path):
            return (_file(path, differences.get(path)),)
        case Copy(source):
            return (Evidence(kind=EvidenceKind.FILE, name=source),)
        case AppendFile(path):
            return (Evidence(kind=EvidenceKind.INITRAMFS, name=path),)
        case Rebuild(rebuild, target, _, reason):
            place = _FILE.match(reason)
            line = int(place[2]) if place and place[2] and place[1] == target else None
            is_image = rebuild is RebuildKind.INITRAMFS
            what = EvidenceKind.INITRAMFS if is_image else EvidenceKind.FILE
            return (Evidence(kind=what, name=target, line=line),) if target.startswith("/") else ()
        case RemoveSwapDevice(device, partition):
            found = next((f for f in facts.storage.filesystems if f.device == device), None)
            size = f"{found.fstype}, {describe(found.size)}" if found else ""
            kind = EvidenceKind.VOLUME if partition is None else EvidenceKind.PARTITION
            return (Evidence(kind=kind, name=device, detail=size),)
        case InstallPackages(_, packages) | RemovePackages(_, packages):
            return tuple(_package(name, facts) for name in packages)
    return ()


def of_text(text: str) -> tuple[Evidence, ...]:
    """Return the file or kernel that a sentence begins with."""
    if place := _FILE.match(text):
        line = int(place[2]) if place[2] else None
        return (Evidence(kind=EvidenceKind.FILE, name=place[1], line=line or None),)
    if kernel := _KERNEL.match(text):
        return (Evidence(kind=EvidenceKind.KERNEL, name=kernel[1] or kernel[2]),)
    return ()


def _file(path: str, difference: Difference | None) -> Evidence:
    if difference is None or difference.first_line is None or difference.is_private:
        there = "" if difference is None or difference.before is not None else "not there"
        return Evidence(kind=EvidenceKind.FILE, name=path, detail=there)
    lines = (difference.old or b"").split(b"\n")
    number = difference.first_line
    text = lines[number - 1].decode("utf-8", "replace") if number <= len(lines) else ""
    return Evidence(kind=EvidenceKind.FILE, name=path, line=number, detail=text[:_LONGEST])


def _package(name: str, facts: Facts) -> Evidence:
    found = facts.package(*name.split(" | "))
    return Evidence(kind=EvidenceKind.PACKAGE, name=name, detail=found.version if found else "not installed")


# -- what holds for a requirement as a whole


def _drivers(*names: str) -> Callable[[Facts], Iterator[Evidence]]:
    def told(facts: Facts) -> Iterator[Evidence]:
        for kernel in facts.kernels:
            states = ", ".join(f"{name} {kernel.driver(name).value}" for name in names)
            yield Evidence(kind=EvidenceKind.KERNEL, name=kernel.release, detail=states)

    return told


def _images(facts: Facts) -> Iterator[Evidence]:
    for kernel in facts.kernels:
        if kernel.initramfs is None:
            yield Evidence(kind=EvidenceKind.KERNEL, name=kernel.release, detail="no initramfs")
            continue
        states = ", ".join(f"{name} {_where(kernel, name)}" for name in _HYPER_V)
        yield Evidence(
            kind=EvidenceKind.INITRAMFS, name=kernel.initramfs.path, detail=f"{kernel.release}: {states}"
        )


def _where(kernel: Kernel, name: str) -> str:
    if kernel.driver(name) is DriverState.BUILTIN:
        return "built in"
    return "present" if kernel.initramfs is not None and name in kernel.initramfs.modules else "missing"


def _kernels(facts: Facts) -> Iterator[Evidence]:
    yield from (Evidence(kind=EvidenceKind.KERNEL, name=kernel.release) for kernel in facts.kernels)


def _volumes(facts: Facts) -> Iterator[Evidence]:
    for volume in facts.storage.logical_volumes:
        yield Evidence(kind=EvidenceKind.VOLUME, name=volume.device)


def _swaps(facts: Facts) -> Iterator[Evidence]:
    for swap in facts.storage.swaps:
        kind = EvidenceKind.PARTITION if swap.partition is not None else EvidenceKind.VOLUME
        yield Evidence(kind=kind, name=swap.device, detail=describe(swap.size))


def _one_of(*names: str) -> Callable[[Facts], Iterator[Evidence]]:
    def told(facts: Facts) -> Iterator[Evidence]:
        if package := facts.package(*names):
            yield Evidence(kind=EvidenceKind.PACKAGE, name=package.name, detail=package.version)

    return told


OF_FACTS: dict[str, Callable[[Facts], Iterator[Evidence]]] = {
    "R3": _drivers("vfat", "udf"),
    "R5": _volumes,
    "R6": _kernels,
    "R7": _swaps,
    "R10": _images,
    "R12": _drivers(*_HYPER_V),
    "R13": _one_of(*_AGENT),
    "R16": _one_of(*_SSH),
}
