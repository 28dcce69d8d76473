"""Decisions in words: verb, object and reason, the same in every report. Guest text in them is raw."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imgfix.change import (
    Advice,
    AppendFile,
    Copy,
    Decision,
    InstallPackages,
    Link,
    Noop,
    Rebuild,
    Remove,
    RemovePackages,
    RemoveSwapDevice,
    RunCommand,
    SetAttributes,
    WriteFile,
)


@dataclass(frozen=True, slots=True)
class Told:
    """One decision as people read it; `what` is empty for advice, whose `why` is a sentence of its own."""

    verb: str
    what: str
    why: str


def without_place(reason: str, target: str) -> str:
    """Return a reason without the target that it begins with, and the line in it: both are told elsewhere."""
    return re.sub(rf"^{re.escape(target)}(:\d+)?:? ", "", reason)


def told(decision: Decision) -> Told:
    """Return a decision in words. The reason of a rebuild begins with the file that it makes: it is left out."""
    match decision:
        case WriteFile(path, content, reason):
            return Told("write" if content else "empty", path, reason)
        case Remove(path, reason):
            return Told("remove", path, reason)
        case Link(path, _, reason):
            return Told("link", path, reason)
        case Copy(_, path, reason):
            return Told("copy", path, reason)
        case AppendFile(path, _, reason):
            return Told("append", path, without_place(reason, path))
        case SetAttributes(path, mode, uid, gid, reason):
            return Told("set", f"{path} {mode:04o} {uid}:{gid}", reason)
        case RunCommand(name, argv, reason):
            return Told("run", " ".join(argv), reason or name)
        case RemoveSwapDevice(device, _, _, reason):
            return Told("delete", device, reason)
        case InstallPackages(_, packages, reason):
            return Told("install", ", ".join(packages), reason)
        case RemovePackages(_, packages, reason):
            return Told("remove", ", ".join(packages), reason)
        case Rebuild(_, target, _, reason):
            return Told("rebuild", target, without_place(reason, target))
        case Noop(reason) | Advice(reason):
            return Told("note", "", reason)
