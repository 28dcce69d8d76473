"""Which network managers start at boot, by the files that `systemctl enable` or `chkconfig` leave."""

from __future__ import annotations

from imgfix import tree as files
from imgfix.steps import units
from imgfix.steps.edit import unfollowed
from imgfix.tree import Tree

#: What pulls services in at boot (systemd.special(7)).
_TARGETS = (
    *("multi-user.target", "graphical.target", "network-online.target", "network.target", "sysinit.target"),
    *("basic.target", "default.target"),
)

#: SysV links: Red Hat, Debian, SUSE; a server boots to runlevel 3, Debian to 2, rcS comes before both.
_RUNLEVELS = ("/etc/rc.d/rc3.d", "/etc/rc3.d", "/etc/rc2.d", "/etc/rcS.d", "/etc/init.d/rc3.d")


def starts(tree: Tree, unit: str) -> bool:
    """Tell whether the systemd unit `unit` is there, not masked, and wanted at boot."""
    if units.find(tree, (unit,)) is None or files.resolve(tree, f"{units.ADMIN}/{unit}") == "/dev/null":
        return False
    return any(
        unfollowed(tree, f"{folder}/{target}.{kind}/{unit}") is not None
        for folder in units.FOLDERS
        for target in _TARGETS
        for kind in ("wants", "requires")
    )


def starts_by_sysv(tree: Tree, name: str) -> bool:
    """Tell whether the init script `name` starts at boot."""
    return any(files.glob(tree, f"{folder}/S[0-9][0-9]{name}") for folder in _RUNLEVELS)


def network_manager_starts(tree: Tree) -> bool:
    """Tell whether NetworkManager starts at boot."""
    return starts(tree, "NetworkManager.service") or starts_by_sysv(tree, "NetworkManager")


def networkd_starts(tree: Tree) -> bool:
    """Tell whether systemd-networkd starts at boot by itself; netplan starts it, too."""
    return starts(tree, "systemd-networkd.service")


def has_network_manager(tree: Tree) -> bool:
    """Tell whether NetworkManager is installed."""
    return any(
        files.is_file(tree, f"{folder}/NetworkManager") for folder in ("/usr/sbin", "/sbin", "/usr/bin")
    )


def has_dhcp_client(tree: Tree) -> bool:
    """Tell whether a program is there that ifup calls for DHCP."""
    folders = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
    names = ("dhclient", "dhcpcd", "udhcpc", "pump")
    return any(files.exists(tree, f"{folder}/{name}") for folder in folders for name in names)
