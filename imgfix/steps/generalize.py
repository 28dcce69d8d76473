"""From a machine to an image: identity, histories, logs, leases (R9, R24). Generalized mode only."""

from __future__ import annotations

import glob
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Noop, Remove, WriteFile
from imgfix.facts.model import Facts
from imgfix.profile import Generalize as Settings
from imgfix.profile import Profile
from imgfix.steps.edit import edited, parsing, removed, unfollowed, written
from imgfix.textedit import accounts, hosts
from imgfix.tree import Kind, Tree

MACHINE_ID = "/etc/machine-id"
DBUS_ID = "/var/lib/dbus/machine-id"
HOSTNAME = "/etc/hostname"
HOSTS = "/etc/hosts"
PASSWD = "/etc/passwd"


class Generalize:
    """Does what `waagent -deprovision` and `cloud-init clean` do, by files: the guest's agents are not run."""

    name = "generalize"
    requirements = ("R9", "R24")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield removals and edits; one Noop for a specialized image."""
        if not profile.generalized:
            yield Noop("a specialized image keeps its identity")
            return
        settings = profile.generalize
        yield from removed(tree, settings.remove, reason="belongs to the old machine")
        yield from _emptied(tree, settings)
        yield from _histories(tree, settings)
        if settings.machine_id:
            yield from _machine_id(tree)
        if settings.hostname is not None:
            yield from _hosts(tree)
            yield written(
                tree, HOSTNAME, f"{settings.hostname}\n", reason="the host name comes with provisioning"
            )


def _hosts(tree: Tree) -> Iterator[Decision]:
    """Take the old machine's name out of /etc/hosts, where installers put it beside 127.0.1.1."""
    if not files.is_file(tree, HOSTNAME) or not files.is_file(tree, HOSTS):
        return
    lines = [line.strip() for line in files.read_text(tree, HOSTNAME).splitlines()]
    name = next((line for line in lines if line and not line.startswith("#")), "localhost")
    if name.split(".")[0].lower() != "localhost":
        yield edited(
            tree,
            HOSTS,
            lambda text: hosts.without_host(text, name),
            reason=f"{name} is the old machine's name",
            settled=f"does not name {name}",
        )


def _emptied(tree: Tree, settings: Settings) -> Iterator[Decision]:
    paths = dict.fromkeys(path for pattern in settings.empty for path in files.glob(tree, pattern))
    for path in paths:
        entry = unfollowed(tree, path)  # a log that is a link leads to no log of the profile's
        if entry is not None and entry.kind is Kind.FILE and entry.size:
            yield WriteFile(path, b"", "a log of the old machine")


def _histories(tree: Tree, settings: Settings) -> Iterator[Decision]:
    patterns = [f"{glob.escape(home)}/{name}" for home in homes(tree) for name in settings.user_files]
    yield from removed(tree, patterns, reason="a user's history")


def homes(tree: Tree) -> list[str]:
    """Return the home folders of all accounts, root's included, in order and without repeats."""
    if not files.is_file(tree, PASSWD):
        return ["/root"]
    with parsing(PASSWD):
        found = accounts.parse(files.read_text(tree, PASSWD), accounts.Kind.PASSWD)
    paths = [account.fields[5].rstrip("/") for account in found if account.fields[5].startswith("/")]
    # Service accounts live in / or /nonexistent: a glob there would be a glob over the system.
    return [path for path in dict.fromkeys(paths) if path and files.is_dir(tree, path)]


def _machine_id(tree: Tree) -> Iterator[Decision]:
    """An empty file: each VM makes its own id, and systemd does not take it for a first boot.

    "uninitialized" (or no file) would: then systemd applies its presets to all units, which enables what the
    admin had disabled, or on EL 10 drops what no preset names (warewulf/warewulf-node-images#86).
    https://www.freedesktop.org/software/systemd/man/machine-id.html#First%20Boot%20Semantics
    """
    if files.is_file(tree, MACHINE_ID):
        yield written(tree, MACHINE_ID, "", reason="each VM makes its own machine id", mode=0o444)
    entry = unfollowed(tree, DBUS_ID)
    if entry is not None and entry.kind is Kind.FILE:
        yield Remove(DBUS_ID, "D-Bus takes the machine id from /etc")
