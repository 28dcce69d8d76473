"""From a machine to an image: identity, histories, logs, leases (R9, R24). Generalized mode only."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop, Remove, WriteFile
from imgfix.facts.model import Facts
from imgfix.profile import Generalize as Settings
from imgfix.profile import Profile
from imgfix.steps import units
from imgfix.steps.edit import edited, matching, parsing, removed, unfollowed, written
from imgfix.textedit import accounts, dhclient, hosts, shellvars
from imgfix.tree import Kind, Tree

MACHINE_ID = "/etc/machine-id"
DBUS_ID = "/var/lib/dbus/machine-id"
HOSTNAME = "/etc/hostname"
HOSTS = "/etc/hosts"
PASSWD = "/etc/passwd"
SUSE_HOSTNAME = "/etc/HOSTNAME"
EL6_NETWORK = "/etc/sysconfig/network"
SUSE_DHCP = "/etc/sysconfig/network/dhcp"
DHCLIENT = ("/etc/dhclient*.conf", "/etc/dhcp/dhclient*.conf", "/etc/dhcp3/dhclient*.conf")
AUTHORIZED_KEYS = ("/etc/ssh/authorized_keys*",)
RESOLV_CONF = "/etc/resolv.conf"
INITIATOR = "/etc/iscsi/initiatorname.iscsi"
#: Debian's and Ubuntu's open-iscsi makes a name where the file asks for it.
OPEN_ISCSI = ("/usr/lib/open-iscsi/startup-checks.sh", "/lib/open-iscsi/startup-checks.sh")
#: https://github.com/canonical/cloud-init/blob/main/cloudinit/settings.py (CLEAN_RUNPARTS_DIR)
CLEAN_SCRIPTS = "/etc/cloud/clean.d"


class Generalize:
    """Does what `waagent -deprovision` and `cloud-init clean` do, by files: the guest's agents are not run.

    https://github.com/Azure/WALinuxAgent/blob/master/azurelinuxagent/pa/deprovision/default.py
    https://github.com/canonical/cloud-init/blob/main/cloudinit/cmd/clean.py
    """

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
        if settings.authorized_keys == "remove":
            patterns = [f"{glob.escape(home)}/.ssh/authorized_keys*" for home in homes(tree)]
            yield from removed(tree, (*patterns, *AUTHORIZED_KEYS), reason="a key of the old machine's users")
        if settings.machine_id:
            yield from _machine_id(tree)
        if settings.hostname is not None:
            yield from _hosts(tree)
            yield from _host_name(tree, settings.hostname)
        if settings.resolv_conf:
            yield from _resolv_conf(tree)
        yield from _initiator(tree)
        yield from _clean_scripts(tree)


def _host_name(tree: Tree, name: str) -> Iterator[Decision]:
    """Set the host name where the guest has it, before systemd too, and do not send the old one by DHCP."""
    reason = "the host name comes with provisioning"
    yield written(tree, HOSTNAME, f"{name}\n", reason=reason)
    entry = unfollowed(tree, SUSE_HOSTNAME)
    if entry is not None and entry.kind is Kind.FILE:
        yield written(tree, SUSE_HOSTNAME, f"{name}\n", reason=reason)
    for path, key, value in (
        (EL6_NETWORK, "HOSTNAME", name),
        (SUSE_DHCP, "DHCLIENT_HOSTNAME_OPTION", "AUTO"),
    ):
        if files.is_file(tree, path):
            with parsing(path):
                is_set = shellvars.get(files.read_text(tree, path), key) is not None
            if is_set:
                yield edited(
                    tree,
                    path,
                    lambda text, k=key, v=value: shellvars.set_value(text, k, v),  # type: ignore[misc]
                    reason=reason,
                    settled=f"{key} is {value}",
                )
    for path in (p for pattern in DHCLIENT for p in files.glob(tree, pattern) if files.is_file(tree, p)):
        yield edited(
            tree,
            path,
            dhclient.with_own_host_name,
            reason="the old machine's name is not sent by DHCP",
            settled="sends the machine's own name",
        )


def _resolv_conf(tree: Tree) -> Iterator[Decision]:
    """Remove what waagent removes; what is a link belongs to systemd-resolved, resolvconf or netconfig."""
    entry = unfollowed(tree, RESOLV_CONF)
    if entry is not None and entry.kind is Kind.FILE:
        yield Remove(RESOLV_CONF, "names the old network's servers")


def _initiator(tree: Tree) -> Iterator[Decision]:
    """Have each VM make its own iSCSI name, in the way in which the guest's package does that."""
    if not files.is_file(tree, INITIATOR):
        return
    text = files.read_text(tree, INITIATOR)
    if re.search(r"^GenerateName=yes", text, re.MULTILINE):
        yield Noop(f"{INITIATOR}: each VM makes its own name")
    elif units.find(tree, ["iscsi-init.service"]) is not None:
        yield Remove(INITIATOR, "each VM makes its own iSCSI name")
    elif any(files.is_file(tree, path) for path in OPEN_ISCSI):
        yield WriteFile(INITIATOR, b"GenerateName=yes\n", "each VM makes its own iSCSI name", 0o600)
    else:
        yield Advice(f"{INITIATOR}: every VM will have this iSCSI name; nothing in the guest makes another")


def _clean_scripts(tree: Tree) -> Iterator[Decision]:
    """`cloud-init clean` runs these; imgfix runs no code of the guest's to plan with."""
    for path in files.glob(tree, f"{CLEAN_SCRIPTS}/*"):
        entry = files.stat(tree, path)
        if entry is not None and entry.kind is Kind.FILE and entry.mode & 0o111:
            yield Advice(f"{path} is not run; `cloud-init clean` in the guest would run it")


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
    for path in matching(tree, settings.empty):
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
