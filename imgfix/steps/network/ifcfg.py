"""Red Hat's ifcfg files, read by network-scripts and by NetworkManager's plugin ifcfg-rh.

https://github.com/fedora-sysv/initscripts/blob/main/doc/sysconfig.txt
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from imgfix import tree as files
from imgfix.change import Advice, Decision, Remove
from imgfix.steps.edit import edited, parsing, written
from imgfix.steps.network import managers
from imgfix.steps.network.interface import Interface, Role, is_virtual, shown
from imgfix.textedit import ifcfg
from imgfix.tree import Tree

FOLDER = "/etc/sysconfig/network-scripts"
GLOBAL = "/etc/sysconfig/network"

#: network-scripts and NetworkManager skip these (is_ignored_file in network-functions, utils.c in ifcfg-rh).
IGNORED = re.compile(r"~$|\.(bak|old|orig|rej|rpmnew|rpmorig|rpmsave|augnew|augtmp|scpmbackup)$")

#: The plugin moved into a folder by version, and left NetworkManager with EL 10.
_PLUGINS = (
    "/usr/lib64/NetworkManager/libnm-settings-plugin-ifcfg-rh.so",
    "/usr/lib64/NetworkManager/*/libnm-settings-plugin-ifcfg-rh.so",
)

_STATIC = re.compile(
    r"(IPADDR|NETMASK|PREFIX|GATEWAY|BROADCAST|NETWORK|DNS|IPV6_DEFAULTGW|IPV6ADDR|IPV6ADDR_SECONDARIES|SRCADDR)\d*$"
)
#: What pins a file to the old machine's NIC or connection.
_PINS = ("HWADDR", "MACADDR", "UUID")
_MASTERS = ("MASTER", "MASTER_UUID", "BRIDGE", "BRIDGE_UUID", "TEAM_MASTER", "TEAM_MASTER_UUID", "OVS_BRIDGE")
_STACKED_TYPES = frozenset({"bond", "team", "teamport", "bridge", "vlan", "ovsbridge", "ovsbond"})
_OTHER_TYPES = frozenset(
    {"gre", "sit", "ipip", "ipsec", "tun", "tap", "wireless", "wireguard", "infiniband", "dummy"}
)

#: What every installer writes, and what says nothing of the network.
_BOILERPLATE = frozenset(
    {
        "TYPE",
        "PROXY_METHOD",
        "BROWSER_ONLY",
        "BOOTPROTO",
        "DEFROUTE",
        "IPV4_FAILURE_FATAL",
        "IPV6INIT",
        "NAME",
    }
    | {"IPV6_AUTOCONF", "IPV6_DEFROUTE", "IPV6_FAILURE_FATAL", "IPV6_ADDR_GEN_MODE", "IPV6_PRIVACY", "UUID"}
    | {"DEVICE", "HWADDR", "ONBOOT", "NM_CONTROLLED", "USERCTL", "PEERDNS", "PEERROUTES", "IPV6_PEERDNS"}
    | {"AUTOCONNECT_PRIORITY", "IPV6_PEERROUTES", "NETBOOT", "AUTOCONNECT_SLAVES", "ZONE"}
)

_GLOBAL_ROUTES = ("GATEWAY", "GATEWAYDEV", "IPV6_DEFAULTGW", "IPV6_DEFAULTDEV")
_NO = frozenset({"no", "false", "off", "n", "f", "0"})


class Ifcfg:
    """The store in /etc/sysconfig/network-scripts."""

    title = FOLDER

    def reader(self, tree: Tree, nic: str) -> str | None:
        """See Store."""
        if _network_scripts_start(tree):
            return "network-scripts"
        plugin = any(files.glob(tree, pattern) for pattern in _PLUGINS)
        return "NetworkManager" if plugin and managers.network_manager_starts(tree) else None

    def interfaces(self, tree: Tree, nic: str) -> tuple[Interface, ...]:
        """See Store."""
        found = {path: _values(tree, path) for path in paths(tree, FOLDER)}
        return tuple(_interface(path, values, found, nic) for path, values in found.items())

    def cleaned(self, tree: Tree, nic: str, gone: Sequence[Interface]) -> Iterator[Decision]:
        """See Store."""
        for interface in gone:
            yield Remove(interface.path, f"{interface.name} is of the old machine")
        left = {i.path for i in self.interfaces(tree, nic) if i.fits}
        unmanaged = () if _network_scripts_start(tree) else ("NM_CONTROLLED",)
        for path in sorted(left):
            off = [n for n in unmanaged if _values(tree, path).get(n, "").lower() in _NO]
            yield edited(
                tree,
                path,
                lambda text, names=(*_PINS, *off): ifcfg.without(text, names),  # type: ignore[misc]
                reason="pinned to a NIC of the old machine",
                settled="pinned to no NIC",
            )
        yield from routes(tree, FOLDER, ("route", "route6", "rule", "rule6", "keys"), gone, nic)
        yield from _global(tree)

    def written(self, tree: Tree, nic: str, zone: str | None) -> Iterator[Decision]:
        """See Store."""
        lines = [f"DEVICE={nic}", "TYPE=Ethernet", "BOOTPROTO=dhcp", "ONBOOT=yes"]
        lines += [f"ZONE={zone}"] if zone else []
        yield written(
            tree,
            f"{FOLDER}/ifcfg-{nic}",
            "# imgfix: Azure gives addresses by DHCP\n" + "\n".join(lines) + "\n",
            reason=f"{nic} does DHCP",
        )


def paths(tree: Tree, folder: str) -> list[str]:
    """Return the ifcfg files in `folder` that its readers take, loopback left out."""
    found = [p for p in files.glob(tree, f"{folder}/ifcfg-*") if files.is_file(tree, p)]
    return [p for p in found if not IGNORED.search(p) and not p.endswith("/ifcfg-lo")]


def routes(
    tree: Tree, folder: str, kinds: Sequence[str], gone: Sequence[Interface], nic: str
) -> Iterator[Decision]:
    """Yield the removal of the routes and rules of dropped NICs, and of `nic`: they lead into the old network."""
    for name in dict.fromkeys([*(i.name for i in gone), *(suffix(i.path) for i in gone), nic]):
        for kind in kinds:
            path = f"{folder}/{kind}-{name}"
            if files.is_file(tree, path):
                lines = [line.strip() for line in files.read_text(tree, path).splitlines()]
                told = [line for line in lines if line and not line.startswith("#")]
                if told and kind != "keys":
                    yield Advice(f"{path} is dropped: {'; '.join(told)}")
                yield Remove(path, f"{name} is of the old network")


def suffix(path: str) -> str:
    """Return what an ifcfg file is named after: ifcfg-eth0 is for eth0."""
    return posixpath.basename(path).partition("-")[2]


def _network_scripts_start(tree: Tree) -> bool:
    return files.exists(tree, f"{FOLDER}/ifup-eth") and managers.starts_by_sysv(tree, "network")


def _values(tree: Tree, path: str) -> dict[str, str]:
    with parsing(path):
        return ifcfg.values(files.read_text(tree, path))


def _interface(
    path: str, values: Mapping[str, str], all_files: Mapping[str, Mapping[str, str]], nic: str
) -> Interface:
    name = values.get("DEVICE") or values.get("NAME") or suffix(path)
    me = {name, values.get("UUID", name), values.get("NAME", name)}
    ports = [v for v in all_files.values() if any(v.get(key) in me for key in _MASTERS)]
    uses = [v.get("DEVICE") or v.get("NAME", "?") for v in ports]
    if values.get("VLAN", "no").lower() == "yes" or values.get("TYPE", "").lower() == "vlan" or "." in name:
        uses.append(values.get("PHYSDEV") or name.partition(".")[0])
    role = _role(name, values, uses)
    static = tuple(key for key in values if _STATIC.match(key))
    is_port = any(values.get(key) for key in _MASTERS)
    return Interface(
        path,
        name,
        role,
        values=tuple(shown(k, v) for k, v in values.items() if k not in _BOILERPLATE and v),
        static=bool(static),
        fits=role is Role.ETHERNET
        and values.get("DEVICE") == nic
        and values.get("BOOTPROTO", "").lower() == "dhcp"
        and values.get("ONBOOT", "yes").lower() not in _NO
        and not static
        and not is_port,
        uses=tuple(uses),
        zone=values.get("ZONE", ""),
    )


def _role(name: str, values: Mapping[str, str], uses: Sequence[str]) -> Role:
    kind = (values.get("TYPE") or values.get("DEVICETYPE") or "").lower()
    if uses or kind in _STACKED_TYPES or "BONDING_OPTS" in values:
        return Role.STACKED
    is_other = kind in _OTHER_TYPES or is_virtual(name.partition(":")[0])
    return Role.OTHER if is_other else Role.ETHERNET


def _global(tree: Tree) -> Iterator[Decision]:
    """The gateway for all NICs, and the switch for the whole network, in /etc/sysconfig/network."""
    if not files.is_file(tree, GLOBAL):
        return
    values = _values(tree, GLOBAL)
    told = [shown(name, values[name]) for name in _GLOBAL_ROUTES if values.get(name)]
    off = ["NETWORKING"] if values.get("NETWORKING", "yes").lower() in _NO else []
    if told:
        yield Advice(f"{GLOBAL}: dropped: {', '.join(told)}")
    yield edited(
        tree,
        GLOBAL,
        lambda text: ifcfg.without(text, (*_GLOBAL_ROUTES, *off)),
        reason="DHCP gives the gateway" if not off else "the network is on, and DHCP gives the gateway",
        settled="has no gateway of its own",
    )
