"""SUSE's ifcfg files, read by wicked (SLES 12 to 15) and by SUSE's older ifup.

ifcfg(5), ifcfg-bonding(5), ifcfg-bridge(5), ifcfg-vlan(5), ifcfg-tunnel(5):
https://github.com/openSUSE/wicked/tree/master/man
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from imgfix import tree as files
from imgfix.change import Advice, Decision, Remove
from imgfix.steps.edit import edited, parsing, written
from imgfix.steps.network import managers
from imgfix.steps.network.ifcfg import paths, routes, suffix
from imgfix.steps.network.interface import Interface, Role, is_virtual, shown
from imgfix.textedit import ifcfg, shellvars
from imgfix.tree import Tree

FOLDER = "/etc/sysconfig/network"
CONFIG = f"{FOLDER}/config"
ROUTES = f"{FOLDER}/routes"

#: Values of STARTMODE with which an interface comes up at boot; `hotplug` and `ifplugd` when it appears.
_STARTS = frozenset({"auto", "boot", "on", "onboot", "hotplug", "ifplugd", "nfsroot"})
_STATIC = re.compile(r"(IPADDR|NETMASK|PREFIXLEN|BROADCAST|REMOTE_IPADDR|GATEWAY)(_?\w+)?$")
_PINS = ("LLADDR", "HWADDR", "UNIQUE", "_nm_name")
_PORTS = re.compile(
    r"BONDING_SLAVE_?\w+$|TEAM_PORT_DEVICE_?\w+$|BRIDGE_PORTS$|ETHERDEVICE$|OVS_BRIDGE_PORT_DEVICE_?\w+$"
)
_STACKED = ("BONDING_MASTER", "BRIDGE", "TEAM_RUNNER", "VLAN", "ETHERDEVICE", "OVS_BRIDGE")
_OTHER = ("TUNNEL", "WIRELESS", "WIRELESS_ESSID", "PPPMODE", "DUMMY")

_BOILERPLATE = frozenset(
    {"BOOTPROTO", "STARTMODE", "NAME", "USERCONTROL", "LLADDR", "HWADDR", "UNIQUE", "_nm_name", "ZONE"}
    | {"DHCLIENT_SET_DEFAULT_ROUTE", "CLOUD_NETCONFIG_MANAGE"}
)
#: wicked would take Azure's name from DHCP, before the agent sets the VM's own.
#: https://learn.microsoft.com/azure/virtual-machines/linux/suse-create-upload-vhd
_DHCP = f"{FOLDER}/dhcp"
_SET_HOSTNAME = "DHCLIENT_SET_HOSTNAME"
_STATIC_DNS = "NETCONFIG_DNS_STATIC_SERVERS"


class Suse:
    """The store in /etc/sysconfig/network."""

    title = FOLDER

    def reader(self, tree: Tree, nic: str) -> str | None:
        """See Store."""
        if managers.starts(tree, "wicked.service"):
            return "wicked"
        old = files.is_file(tree, CONFIG) and managers.starts_by_sysv(tree, "network")
        return "SUSE's ifup" if old else None

    def interfaces(self, tree: Tree, nic: str) -> tuple[Interface, ...]:
        """See Store."""
        found = [(path, _values(tree, path)) for path in paths(tree, FOLDER)]
        return tuple(_interface(path, values, nic) for path, values in found)

    def cleaned(self, tree: Tree, nic: str, gone: Sequence[Interface]) -> Iterator[Decision]:
        """See Store."""
        for interface in gone:
            yield Remove(interface.path, f"{interface.name} is of the old machine")
        for interface in self.interfaces(tree, nic):
            if interface.fits:
                yield edited(
                    tree,
                    interface.path,
                    lambda text: ifcfg.without(text, _PINS),
                    reason="pinned to a NIC of the old machine",
                    settled="pinned to no NIC",
                )
        yield from routes(tree, FOLDER, ("ifroute", "ifrule"), gone, nic)
        yield from _global(tree)

    def written(self, tree: Tree, nic: str, zone: str | None) -> Iterator[Decision]:
        """See Store."""
        lines = ["BOOTPROTO='dhcp'", "STARTMODE='auto'", *([f"ZONE='{zone}'"] if zone else [])]
        yield written(
            tree,
            f"{FOLDER}/ifcfg-{nic}",
            "# imgfix: Azure gives addresses by DHCP\n" + "\n".join(lines) + "\n",
            reason=f"{nic} does DHCP",
        )


def _values(tree: Tree, path: str) -> dict[str, str]:
    with parsing(path):
        return ifcfg.values(files.read_text(tree, path))


def _interface(path: str, values: Mapping[str, str], nic: str) -> Interface:
    name = suffix(path)
    static = any(_STATIC.match(key) and value for key, value in values.items())
    stacked = any(values.get(key, "no").lower() != "no" for key in _STACKED)
    other = any(values.get(key, "no").lower() != "no" for key in _OTHER) or is_virtual(name)
    role = Role.STACKED if stacked else Role.OTHER if other else Role.ETHERNET
    return Interface(
        path,
        name,
        role,
        values=tuple(shown(k, v) for k, v in values.items() if k not in _BOILERPLATE and v),
        static=static,
        fits=role is Role.ETHERNET
        and name == nic
        and values.get("BOOTPROTO", "").lower() in ("dhcp", "dhcp4", "dhcp+autoip")
        and values.get("STARTMODE", "manual").lower() in _STARTS
        and not static,
        uses=tuple(port for key, value in values.items() if _PORTS.match(key) for port in value.split()),
        zone=values.get("ZONE", ""),
    )


def _global(tree: Tree) -> Iterator[Decision]:
    """Routes for all NICs, and DNS servers that would go before those of DHCP."""
    if files.is_file(tree, ROUTES):
        lines = [line.strip() for line in files.read_text(tree, ROUTES).splitlines()]
        told = [line for line in lines if line and not line.startswith("#")]
        if told:
            yield Advice(f"{ROUTES} is dropped: {'; '.join(told)}")
            yield Remove(ROUTES, "its routes lead into the old network")
    if files.is_file(tree, CONFIG):
        with parsing(CONFIG):
            servers = shellvars.get(files.read_text(tree, CONFIG), _STATIC_DNS)
        if servers:
            yield Advice(f"{CONFIG}: dropped: {_STATIC_DNS}={servers}")
            yield edited(
                tree,
                CONFIG,
                lambda text: shellvars.set_value(text, _STATIC_DNS, ""),
                reason="DHCP gives the DNS servers",
                settled="names no DNS server",
            )
    if files.is_file(tree, _DHCP):
        yield edited(
            tree,
            _DHCP,
            lambda text: shellvars.set_value(text, _SET_HOSTNAME, "no"),
            reason="the agent sets the host name, not DHCP",
            settled="does not set the host name",
        )
