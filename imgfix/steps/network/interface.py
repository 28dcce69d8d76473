"""What a store says of one network interface, and what becomes of it on Azure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from imgfix.change import Advice, Decision
from imgfix.tree import Tree


class Role(Enum):
    """What an interface is to the machine."""

    ETHERNET = "a network card"
    STACKED = "a bond, bridge, team or VLAN"
    OTHER = "something that needs no network card: loopback, a tunnel, a bridge of containers"


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface in one file.

    `values` are the settings worth telling when it is dropped, as written; `static` tells whether addresses are
    among them. `fits`: the wanted NIC gets its address by this at boot, hard MACs aside. `generic`: it names no
    NIC but a pattern, and nothing of the old machine. `uses` are the interfaces that it is made of, `zone` is
    firewalld's.
    """

    path: str
    name: str
    role: Role
    values: tuple[str, ...] = ()
    static: bool = False
    fits: bool = False
    generic: bool = False
    uses: tuple[str, ...] = ()
    zone: str = ""


class Store(Protocol):
    """One place where configurations of interfaces live, in one grammar."""

    @property
    def title(self) -> str:
        """Its name in messages."""

    def reader(self, tree: Tree, nic: str) -> str | None:
        """Return the network manager that sets `nic` up from it at boot, or None."""

    def interfaces(self, tree: Tree, nic: str) -> tuple[Interface, ...]:
        """Return what it says; raises ParseError for a file that cannot be parsed."""

    def cleaned(self, tree: Tree, nic: str, gone: Sequence[Interface]) -> Iterator[Decision]:
        """Yield what takes `gone` out, and the hard MACs out of what stays."""

    def written(self, tree: Tree, nic: str, zone: str | None) -> Iterator[Decision]:
        """Yield what makes `nic` do DHCP; `zone` is firewalld's."""


#: The driver of every first NIC on Azure.
DRIVER = "hv_netvsc"

#: Interfaces that are no network cards, by the names that the kernel and their makers give them.
_VIRTUAL = re.compile(
    r"(lo|tun|tap|wg|ppp|dummy|sit|gre|ip6tnl|tunl|vti|xfrm|ifb|can|ib|zt)[0-9]*$"
    r"|wl|ww|docker|virbr|vnet|veth|lxc|lxd|br-|cali|flannel|cni|tailscale|nebula"
)

#: Values that nobody shall read in a report: keys of 802.1X, Wi-Fi and VPNs.
_SECRET = re.compile(
    r"(?i)passw|passphrase|psk|secret|private.?key|wep.?key|wireless.?key|^key|\bpin\b|token"
)


def is_virtual(name: str) -> bool:
    """Tell whether `name` is that of no network card: lo, tun0, docker0, wlan0."""
    return _VIRTUAL.match(name) is not None


def shown(key: str, value: str, separator: str = "=") -> str:
    """Return a setting for a report, secrets left out."""
    return f"{key}{separator}{'(not shown)' if _SECRET.search(key) else value}"


def flattened(settings: Mapping[str, object], boilerplate: frozenset[str]) -> tuple[str, ...]:
    """Return nested settings as `key.key=value`, without those whose first key is boilerplate."""

    def walk(prefix: str, value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for key, below in value.items():
                yield from walk(f"{prefix}.{key}", below)
        elif isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
            yield shown(prefix, " ".join(str(one) for one in value))
        elif isinstance(value, list):
            for one in value:
                yield from walk(prefix, one)
        else:
            yield shown(prefix, str(value).lower() if isinstance(value, bool) else str(value))

    return tuple(
        line for key, value in settings.items() if key not in boilerplate for line in walk(str(key), value)
    )


def doomed(interfaces: Sequence[Interface]) -> tuple[Interface, ...]:
    """Return the interfaces that Azure has no use for: old NICs, and what is made of NICs."""
    gone = {i for i in interfaces if i.role is Role.ETHERNET and not i.fits and not i.generic}
    cards = {i.name for i in interfaces if i.role is Role.ETHERNET}
    stacked = [i for i in interfaces if i.role is Role.STACKED]
    names = {i.name for i in stacked}
    while True:
        lost = {i.name for i in gone}
        more = {
            i
            for i in stacked
            if i not in gone
            and any(u in cards or u in lost or not (u in names or is_virtual(u)) for u in i.uses)
        }
        if not more:
            return tuple(i for i in interfaces if i in gone)
        gone |= more


def advice(gone: Sequence[Interface]) -> Iterator[Advice]:
    """Tell what is dropped, with its old values; a NIC that only did DHCP had none."""
    for interface in gone:
        if interface.values:
            yield Advice(f"{interface.path}: {interface.name} is dropped: {', '.join(interface.values)}")
