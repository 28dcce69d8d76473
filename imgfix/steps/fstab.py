"""File systems by UUID: disk names change with the controller, and on Azure from boot to boot."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop
from imgfix.facts import devices
from imgfix.facts.model import Facts, Storage
from imgfix.profile import Profile
from imgfix.steps.edit import edited, parsing
from imgfix.textedit import crypttab, fstab
from imgfix.tree import Tree

FSTAB = "/etc/fstab"
CRYPTTAB = "/etc/crypttab"


class Fstab:
    """Replaces disk names in /etc/fstab and /etc/crypttab by UUIDs."""

    name = "fstab"
    requirements = ("R7",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield an edit or a Noop for each file, and advice on what is not on this disk."""
        if not profile.fstab.by_uuid:
            yield Noop("the profile keeps disk names")
            return
        found = [path for path in (FSTAB, CRYPTTAB) if files.is_file(tree, path)]
        if not found:
            yield Noop(f"no {FSTAB} and no {CRYPTTAB}")
        for path in found:
            text = files.read_text(tree, path)
            with parsing(path):
                specs = _fstab_specs(text) if path == FSTAB else _crypttab_specs(text)
            mapping = _mapping(specs, facts.storage)
            replace = fstab.replace_specs if path == FSTAB else crypttab.replace_specs
            yield edited(
                tree,
                path,
                lambda t, m=mapping, r=replace: r(t, m),  # type: ignore[misc]
                reason="a disk name is not stable, a UUID is",
                settled="names no disk by its controller",
            )
            for spec in specs:
                if devices.names_disk(spec) and spec not in mapping:
                    what = "has no UUID" if devices.find(spec, facts.storage) else "is not on this disk"
                    yield Advice(f"{path}: {spec} {what}; its name may change on Azure")


def _fstab_specs(text: str) -> list[str]:
    return [line.entry.spec for line in fstab.parse(text) if line.entry]


def _crypttab_specs(text: str) -> list[str]:
    return [line.entry.device for line in crypttab.parse(text) if line.entry]


def _mapping(specs: list[str], storage: Storage) -> dict[str, str]:
    found = ((spec, devices.find(spec, storage)) for spec in specs if devices.names_disk(spec))
    return {spec: f"UUID={filesystem.uuid}" for spec, filesystem in found if filesystem and filesystem.uuid}
