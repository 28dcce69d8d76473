"""SELinux labels: files that an appliance writes have none. They get one there, or the guest sets all at first boot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Change, Decision, Noop, Rebuild, RebuildKind, Remove, RemoveSwapDevice
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.edit import parsing, written
from imgfix.textedit import shellvars
from imgfix.tree import Tree

CONFIG = "/etc/selinux/config"
AUTORELABEL = "/.autorelabel"

#: restorecon does nothing at all where the running kernel has no SELinux; setfiles does not ask
#: (https://github.com/SELinuxProject/selinux/blob/main/policycoreutils/setfiles/setfiles.c).
_SETFILES = ("/usr/sbin/setfiles", "/sbin/setfiles", "/usr/bin/setfiles")
_CONTEXTS = "/etc/selinux/{}/contexts/files/file_contexts"

#: What SELINUXTYPE is where it is not set (libselinux, SELINUXDEFAULT).
_DEFAULT_TYPE = "targeted"


class Selinux:
    """Labels what was written where SELinux is on, with the guest's own tool and policy."""

    name = "selinux"
    requirements = ()

    def follow(
        self, profile: Profile, facts: Facts, tree: Tree, changes: Sequence[Change]
    ) -> Iterator[Decision]:
        """Yield a rebuild of labels, the marker file for a relabel at boot, or a Noop."""
        if not files.is_file(tree, CONFIG):
            yield Noop("the guest has no SELinux")
            return
        with parsing(CONFIG):
            text = files.read_text(tree, CONFIG)
            mode = shellvars.get(text, "SELINUX")
            policy = shellvars.get(text, "SELINUXTYPE") or _DEFAULT_TYPE
        if mode not in ("enforcing", "permissive"):
            yield Noop(f"SELinux is {mode or 'not set'} in the guest")
        elif not any(not isinstance(change, Remove | RemoveSwapDevice) for change in changes):
            yield Noop("nothing is written, so nothing needs a label")
        elif files.exists(tree, AUTORELABEL):
            yield Noop(f"{AUTORELABEL} is there: the guest sets all labels at its next boot anyway")
        else:
            yield _labels(facts, tree, mode, policy)


def _labels(facts: Facts, tree: Tree, mode: str, policy: str) -> Decision:
    contexts = _CONTEXTS.format(policy)
    program = next((path for path in _SETFILES if files.is_file(tree, path)), None)
    why_not = (
        "the guest's files have no labels yet"
        if not facts.labelled
        else "the guest has no setfiles"
        if program is None
        else f"the guest has no {contexts}"
        if not files.is_file(tree, contexts)
        else ""
    )
    if why_not or program is None:
        # -F: files that have a customised label get the policy's too (selinux-autorelabel(8)).
        reason = (
            f"SELinux is {mode} and {why_not}: it sets all labels at first boot: minutes, and one restart"
        )
        return written(tree, AUTORELABEL, "-F\n", reason=reason)
    # -i: what the walk saw may be gone when its turn comes.
    command = (program, "-i", contexts)
    reason = f"SELinux is {mode}: what is written gets its label now, so the first boot need not relabel"
    return Rebuild(RebuildKind.SELINUX_LABELS, contexts, (command,), reason)
