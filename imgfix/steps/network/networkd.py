"""systemd-networkd: .network and .netdev files, and udev's .link files beside them.

systemd.network(5), systemd.netdev(5), systemd.link(5). Of the .network files that match a NIC the first by name counts.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Decision, Remove
from imgfix.steps.edit import edited, parsing, written
from imgfix.steps.network import managers
from imgfix.steps.network.interface import DRIVER, Interface, Role, is_virtual, shown
from imgfix.textedit import ini
from imgfix.textedit.ini import Entry, Grammar
from imgfix.tree import Tree

FOLDER = "/etc/systemd/network"
#: In order of precedence: a file of the same name in a later folder is not read.
_FOLDERS = (FOLDER, "/usr/local/lib/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network")

_STACKED = frozenset({"bond", "bridge", "team", "vlan", "macvlan", "ipvlan", "macvtap", "vrf"})
_UPPERS = ("Bond", "Bridge", "VLAN", "MACVLAN", "IPVLAN", "MACVTAP", "VRF", "Team")
#: [Match] keys that pin a file to one NIC of one machine.
_PINS = frozenset({"MACAddress", "PermanentMACAddress", "Path"})
_STATIC = (
    *(("Network", key) for key in ("Address", "Gateway", "DNS")),
    *(("Address", "Address"), ("Route", "Gateway"), ("Route", "Destination")),
)
_TOLD = frozenset(
    {"Network", "Address", "Route", "RoutingPolicyRule", "NetDev", "Bond", "VLAN", "Bridge", "Link"}
)
_BOILERPLATE = frozenset(
    {("Network", "DHCP"), ("Network", "LinkLocalAddressing"), ("Network", "IPv6AcceptRA")}
)
_TRUE = frozenset({"yes", "true", "on", "1", "y", "t"})
_YES = _TRUE | {"both", "v4", "ipv4"}
_GLOB = frozenset("*?[!")


class Networkd:
    """The store in /etc/systemd/network."""

    title = FOLDER

    def reader(self, tree: Tree, nic: str) -> str | None:
        """See Store."""
        return "systemd-networkd" if managers.networkd_starts(tree) else None

    def interfaces(self, tree: Tree, nic: str) -> tuple[Interface, ...]:
        """See Store."""
        networks = [(path, _entries(tree, path)) for path in effective(tree, "network")]
        devices = [(path, _entries(tree, path)) for path in effective(tree, "netdev")]
        kinds = {_get(e, "NetDev", "Name"): _get(e, "NetDev", "Kind") for _, e in devices}
        below = {name: _below(name, networks) for name in kinds}
        first = next((path for path, entries in networks if _is_for(entries, nic)), None)
        found = [
            _network(path, entries, kinds, below, nic if path == first else None)
            for path, entries in networks
        ]
        for path, entries in devices:
            name = _get(entries, "NetDev", "Name")
            role = Role.STACKED if kinds[name] in _STACKED else Role.OTHER
            found.append(_with(path, name, role, entries, below[name]))
        return tuple(found)

    def cleaned(self, tree: Tree, nic: str, gone: Sequence[Interface]) -> Iterator[Decision]:
        """See Store."""
        for interface in gone:
            yield Remove(interface.path, f"{interface.name} is of the old machine")
            for folder in files.glob(tree, f"{interface.path}.d"):
                yield Remove(folder, f"{interface.name} is of the old machine")
        for interface in self.interfaces(tree, nic):
            if interface.fits and interface.path.startswith(FOLDER):
                yield edited(
                    tree,
                    interface.path,
                    lambda text: ini.without(text, Grammar.SYSTEMD, _pins),
                    reason="pinned to a NIC of the old machine",
                    settled="pinned to no NIC",
                )

    def written(self, tree: Tree, nic: str, zone: str | None) -> Iterator[Decision]:
        """See Store. networkd knows no zones of firewalld."""
        first = first_for(tree, nic)
        name = f"05-imgfix-{nic}.network"
        if first is not None and posixpath.basename(first) < name:
            name = f"00-imgfix-{nic}.network"
        yield written(
            tree,
            f"{FOLDER}/{name}",
            f"# imgfix: Azure gives addresses by DHCP\n[Match]\nName={nic}\n\n[Network]\nDHCP=yes\n",
            reason=f"{nic} does DHCP",
        )


def effective(tree: Tree, kind: str) -> list[str]:
    """Return the files of a kind (network, netdev, link) that are read, in their order; masked ones are not."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in files.glob(tree, f"{folder}/*.{kind}"):
            found.setdefault(posixpath.basename(path), path)
    return [found[name] for name in sorted(found) if files.is_file(tree, found[name])]


def first_for(tree: Tree, nic: str) -> str | None:
    """Return the .network file that counts for `nic`, or None."""
    return next((p for p in effective(tree, "network") if _is_for(_entries(tree, p), nic)), None)


def links(tree: Tree) -> Iterator[Decision]:
    """Yield the removal of .link files that name NICs or set MACs: net.ifnames=0 does not stop a Name=."""
    for path in effective(tree, "link"):
        if not path.startswith(FOLDER):
            continue
        entries = _entries(tree, path)
        pinned = any(e.section == "Match" and e.key in _PINS and _value(e) for e in entries)
        named = any(_get(entries, "Link", key) for key in ("Name", "MACAddress"))
        if pinned or named:
            yield Remove(path, "names a NIC of the old machine")


def _entries(tree: Tree, path: str) -> tuple[Entry, ...]:
    """Return the entries of a file and of its drop-ins."""
    name = posixpath.basename(path)
    drop_ins = [p for folder in reversed(_FOLDERS) for p in files.glob(tree, f"{folder}/{name}.d/*.conf")]
    found: list[Entry] = []
    for one in (path, *drop_ins):
        if files.is_file(tree, one):
            with parsing(one):
                found += ini.parse(files.read_text(tree, one), Grammar.SYSTEMD)
    return tuple(found)


def _get(entries: Sequence[Entry], section: str, key: str) -> str:
    return next((_value(e) for e in reversed(entries) if e.section == section and e.key == key), "")


def _value(entry: Entry) -> str:
    return entry.value.strip()


def _pins(entry: Entry) -> bool:
    return (entry.section == "Match" and entry.key in _PINS) or (entry.section, entry.key) == (
        "Link",
        "MACAddress",
    )


def _below(upper: str, networks: Sequence[tuple[str, tuple[Entry, ...]]]) -> tuple[str, ...]:
    """Return the names in [Match] of the .network files that put their interface below `upper`."""
    return tuple(
        _get(entries, "Match", "Name") or posixpath.basename(path)
        for path, entries in networks
        if any(e.section == "Network" and e.key in _UPPERS and upper in _value(e).split() for e in entries)
    )


def _network(
    path: str,
    entries: tuple[Entry, ...],
    kinds: dict[str, str],
    below: dict[str, tuple[str, ...]],
    nic: str | None,
) -> Interface:
    """Read one .network file; `nic` is None where an earlier file counts for it."""
    patterns = _get(entries, "Match", "Name").split()
    name = " ".join(patterns) or posixpath.basename(path)
    upper = next((p for p in patterns if p in kinds), None)
    if upper is not None:
        role = Role.STACKED if kinds[upper] in _STACKED else Role.OTHER
        return _with(path, upper, role, entries, below[upper])
    kind = _get(entries, "Match", "Type")
    other = bool(_get(entries, "Match", "Kind")) or (kind not in ("", "ether"))
    # Whoever has networkd leave a card alone, as the file for SR-IOV does, configures none by that.
    unmanaged = _get(entries, "Link", "Unmanaged").lower() in _TRUE
    if other or unmanaged or (patterns and all(is_virtual(p) for p in patterns)):
        return Interface(path, name, Role.OTHER)
    pinned = any(e.section == "Match" and e.key in _PINS and _value(e) for e in entries)
    free = not _static(entries) and not _is_port(entries)
    return Interface(
        path,
        name,
        Role.ETHERNET,
        values=_told(entries),
        static=_static(entries),
        fits=free and nic is not None and _get(entries, "Network", "DHCP").lower() in _YES,
        generic=not path.startswith(FOLDER)
        or (free and not pinned and (not patterns or any(_GLOB & set(p) for p in patterns))),
    )


def _with(path: str, name: str, role: Role, entries: tuple[Entry, ...], uses: tuple[str, ...]) -> Interface:
    kind = _get(entries, "NetDev", "Kind")
    head = (f"{kind} of {', '.join(uses)}",) if kind and uses else ()
    told = tuple(v for v in _told(entries) if not v.startswith(("Name=", "Kind=")))
    return Interface(path, name, role, values=(*head, *told), static=_static(entries), uses=uses)


def _told(entries: tuple[Entry, ...]) -> tuple[str, ...]:
    return tuple(
        shown(e.key, _value(e))
        for e in entries
        if e.section in _TOLD and (e.section, e.key) not in _BOILERPLATE and _value(e)
    )


def _static(entries: tuple[Entry, ...]) -> bool:
    return any((e.section, e.key) in _STATIC and _value(e) for e in entries)


def _is_port(entries: tuple[Entry, ...]) -> bool:
    return any(e.section == "Network" and e.key in ("Bond", "Bridge") and _value(e) for e in entries)


def _is_for(entries: tuple[Entry, ...], nic: str) -> bool:
    """Tell whether [Match] takes `nic` on Azure. A MAC beside the very name does not count: it will go."""
    conditions = {e.key: _value(e) for e in entries if e.section == "Match" and _value(e)}
    names = conditions.pop("Name", "").split()
    if nic in names:
        conditions = {k: v for k, v in conditions.items() if k not in _PINS}
    drivers = conditions.pop("Driver", "*").split()
    if conditions.pop("Type", "ether") != "ether" or conditions:
        return False
    if not any(fnmatch.fnmatchcase(DRIVER, driver) for driver in drivers):
        return False
    wanted = [n for n in names if not n.startswith("!")]
    unwanted = [n[1:] for n in names if n.startswith("!")]
    return (not wanted or any(fnmatch.fnmatchcase(nic, n) for n in wanted)) and not any(
        fnmatch.fnmatchcase(nic, n) for n in unwanted
    )
