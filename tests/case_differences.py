"""Where a plan is not what a case expects, in words; see tests/cases/README.md."""

from __future__ import annotations

import difflib
import lzma
import stat
from collections.abc import Iterable
from typing import Any

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
from imgfix.plan import Plan
from tests.case import Case, Data
from tests.facts import cpio_reader
from tests.facts.cpio_writer import Item


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
