"""SELinux labels: files that an appliance writes have none, so the guest sets them all at its first boot."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Noop
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.edit import parsing, written
from imgfix.textedit import shellvars
from imgfix.tree import Tree

CONFIG = "/etc/selinux/config"
AUTORELABEL = "/.autorelabel"


class Selinux:
    """Asks for a relabel at boot where SELinux is on; the guest then reboots once by itself."""

    name = "selinux"
    requirements = ()

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield the marker file, or a Noop."""
        if not files.is_file(tree, CONFIG):
            yield Noop("the guest has no SELinux")
            return
        with parsing(CONFIG):
            mode = shellvars.get(files.read_text(tree, CONFIG), "SELINUX")
        if mode not in ("enforcing", "permissive"):
            yield Noop(f"SELinux is {mode or 'not set'} in the guest")
            return
        # -F: files that have a customised label get the policy's too (selinux-autorelabel(8)).
        reason = f"SELinux is {mode}: labels are set at first boot, which takes minutes and one restart"
        yield written(tree, AUTORELABEL, "-F\n", reason=reason)
