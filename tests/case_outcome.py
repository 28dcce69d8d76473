"""What a case's guest is like when its plan has been carried out, generators included."""

from __future__ import annotations

import io
from dataclasses import replace

from imgfix.apply import FINISHES
from imgfix.change import (
    AppendFile,
    Edit,
    Rebuild,
    RebuildKind,
    Remove,
    RunCommand,
    WriteFile,
)
from imgfix.facts import dpkg
from imgfix.facts.initramfs import read_initramfs
from imgfix.facts.model import (
    Facts,
    Kernel,
    Package,
)
from imgfix.plan import Plan
from tests import mkconfig
from tests.case import REBUILT, Case
from tests.facts import cpio_reader
from tests.fake_tree import FakeTree


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
    return replace(kernel, initramfs=replace(image, modules=frozenset(REBUILT), hooks=()))


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
