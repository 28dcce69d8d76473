"""udev's names for NICs: rules that give them, and the generator that writes such rules at each boot."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Link, Noop, Remove
from imgfix.steps.edit import edited, unfollowed
from imgfix.textedit import udev_rules
from imgfix.textedit.udev_rules import Rule
from imgfix.tree import Tree

_RULES = "/etc/udev/rules.d/*.rules"

#: EL 6 and others before systemd name each new MAC a new ethN: a VM that Azure moves would lose eth0. A link to
#: /dev/null turns the rule off. https://learn.microsoft.com/azure/virtual-machines/linux/create-upload-centos
GENERATOR = "/etc/udev/rules.d/75-persistent-net-generator.rules"
_GENERATORS = ("/lib/udev/rules.d/75-persistent-net-generator.rules",)


def names(tree: Tree) -> Iterator[Decision]:
    """Yield the removal of rules that give NICs names; the rest of a file stays."""
    for path in files.glob(tree, _RULES):
        if not files.is_file(tree, path):
            continue
        rules = udev_rules.parse(files.read_text(tree, path))
        doomed = [rule for rule in rules if _names_a_nic(rule)]
        if doomed and len(doomed) == len(rules):
            yield Remove(path, "names NICs of the old machine")
        elif doomed:
            yield edited(
                tree,
                path,
                lambda text: udev_rules.without(text, _names_a_nic),
                reason="names NICs of the old machine",
                settled="",
            )
    yield from _generator(tree)


def _generator(tree: Tree) -> Iterator[Decision]:
    if not any(files.is_file(tree, path) for path in _GENERATORS):
        return
    entry = unfollowed(tree, GENERATOR)
    if entry is not None and entry.target == "/dev/null":
        yield Noop(f"{GENERATOR} is off")
        return
    if entry is not None:
        yield Remove(GENERATOR, "names NICs by their MACs at each boot")
    yield Link(GENERATOR, "/dev/null", "udev must not name a NIC by the MAC that it first had")


def _names_a_nic(rule: Rule) -> bool:
    return rule.value("SUBSYSTEM") == "net" and rule.value("NAME", assigned=True) is not None
