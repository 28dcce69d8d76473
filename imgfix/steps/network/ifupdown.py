"""ifupdown: /etc/network/interfaces and what it sources.

interfaces(5), bridge-utils-interfaces(5), vlan-interfaces(5), and ifenslave's options for bonds.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop, Remove, WriteFile
from imgfix.steps.edit import edited, parsing
from imgfix.steps.network import managers
from imgfix.steps.network.interface import Interface, Role, is_virtual, shown
from imgfix.textedit import interfaces
from imgfix.textedit.interfaces import Option, Stanza
from imgfix.tree import Tree

FILE = "/etc/network/interfaces"
#: A file that sources itself would never end.
_MAX_FILES = 100

_PORTS = ("bridge_ports", "bridge-ports", "bond-slaves", "bond_slaves", "slaves", "ovs_ports", "ovs_bonds")
_PARENTS = ("vlan-raw-device", "vlan_raw_device")
_MASTERS = ("bond-master", "bond_master")
_NO_PORTS = frozenset({"none", "all", "regex", "noregex"})
_OTHER_METHODS = frozenset({"loopback", "ppp", "wvdial", "tunnel", "ipv4tunnel", "v4tunnel", "6to4", "can"})
_STATIC = re.compile(r"(address|netmask|gateway|network|broadcast|dns-.*|pointopoint)$")


class Ifupdown:
    """The store in /etc/network/interfaces."""

    title = FILE

    def reader(self, tree: Tree, nic: str) -> str | None:
        """See Store."""
        starts = managers.starts(tree, "networking.service") or managers.starts_by_sysv(tree, "networking")
        return "ifupdown" if starts and files.is_file(tree, FILE) else None

    def interfaces(self, tree: Tree, nic: str) -> tuple[Interface, ...]:
        """See Store. Stanzas of one name are one interface, whatever file they stand in."""
        stanzas = [(path, s) for path in paths(tree) for s in _stanzas(tree, path)]
        started = {word for _, s in stanzas if s.starts for word in s.words}
        named: dict[str, list[tuple[str, Stanza]]] = {}
        for path, stanza in stanzas:
            if stanza.kind == "iface":
                named.setdefault(stanza.name, []).append((path, stanza))
        found = [_interface(name, mine, named, started, nic) for name, mine in named.items()]
        # What a tunnel that stays inherits from must stay too: without it ifup would refuse the file.
        stays = {i.name for i in found if i.role is Role.OTHER}
        needed = {s.words[-1] for _, s in stanzas if _inherits(s) and s.name in stays}
        return tuple(i for i in found if i.name not in needed)

    def cleaned(self, tree: Tree, nic: str, gone: Sequence[Interface]) -> Iterator[Decision]:
        """See Store."""
        names = {interface.name for interface in gone}
        for path in paths(tree):
            lost = [s for s in _stanzas(tree, path) if _maps(s, names, nic)]
            for stanza in lost:
                yield Advice(f"{path}:{stanza.line}: {stanza.kind} {' '.join(stanza.words)} is dropped")
            old = files.read_text(tree, path)
            with parsing(path):
                new = _without(old, names, nic)
                is_empty = bool(interfaces.parse(old)) and not interfaces.parse(new)
            reason = f"{', '.join(sorted(names)) or nic}: of the old machine"
            if new == old:
                yield Noop(f"{path}: names no NIC of the old machine")
            elif is_empty and path != FILE:
                yield Remove(path, reason)
            else:
                yield WriteFile(path, new.encode("utf-8", "surrogateescape"), reason)

    def written(self, tree: Tree, nic: str, zone: str | None) -> Iterator[Decision]:
        """See Store."""
        block = ("# imgfix: Azure gives addresses by DHCP", f"auto {nic}", f"iface {nic} inet dhcp")
        yield edited(
            tree, FILE, lambda text: interfaces.appended(text, block), reason=f"{nic} does DHCP", settled=""
        )


def paths(tree: Tree) -> list[str]:
    """Return /etc/network/interfaces and every file that it sources, in order."""
    found: list[str] = []
    sourced = [FILE]
    while sourced and len(found) < _MAX_FILES:
        path = sourced.pop(0)
        if path in found or not files.is_file(tree, path):
            continue
        found.append(path)
        for stanza in _stanzas(tree, path):
            if stanza.kind.startswith("source"):
                sourced += [p for word in stanza.words for p in _sourced(tree, stanza.kind, path, word)]
    return found


def _sourced(tree: Tree, kind: str, path: str, word: str) -> list[str]:
    pattern = posixpath.join(posixpath.dirname(path), word)
    if kind == "source":
        return list(files.glob(tree, pattern))
    # A folder's files count by the names that run-parts takes.
    found = [p for folder in files.glob(tree, pattern) for p in files.glob(tree, f"{folder}/*")]
    return [p for p in found if re.fullmatch(r"[a-zA-Z0-9_-]+", posixpath.basename(p))]


def _stanzas(tree: Tree, path: str) -> tuple[Stanza, ...]:
    with parsing(path):
        return interfaces.parse(files.read_text(tree, path))


def _maps(stanza: Stanza, names: set[str], nic: str) -> bool:
    """Tell whether a stanza gives another name to a NIC: by MAC, as mapping and rename are used for."""
    if stanza.kind == "rename":
        return True
    return stanza.kind == "mapping" and any(
        fnmatch.fnmatchcase(name, word) for word in stanza.words for name in (*names, nic)
    )


def _without(text: str, names: set[str], nic: str) -> str:
    text = interfaces.without(text, lambda s: (s.kind == "iface" and s.name in names) or _maps(s, names, nic))
    text = interfaces.without_starts(text, names.__contains__)
    return interfaces.without_options(text, lambda s, o: s.name == nic and o.key in ("hwaddress", "hwaddr"))


def _interface(
    name: str,
    mine: list[tuple[str, Stanza]],
    everything: dict[str, list[tuple[str, Stanza]]],
    started: set[str],
    nic: str,
) -> Interface:
    options = [option for _, stanza in mine for option in stanza.options]
    methods = [" ".join(stanza.words[1:3]) for _, stanza in mine]
    ports = _ports(name, options, everything)
    role = _role(name, methods, options, ports)
    static = any(_STATIC.match(o.key) for o in options) or any(m.endswith(" static") for m in methods)
    return Interface(
        mine[0][0],
        name,
        role,
        values=tuple(shown(o.key, o.value, " ") for o in options),
        static=static,
        fits=role is Role.ETHERNET
        and name == nic
        and name in started
        and methods.count("inet dhcp") == 1
        and not any(_inherits(stanza) for _, stanza in mine)
        and not static
        and not any(o.key in _MASTERS for o in options),
        uses=tuple(ports),
    )


def _inherits(stanza: Stanza) -> bool:
    return stanza.kind == "iface" and "inherits" in stanza.words[:-1]


def _ports(
    name: str, options: Sequence[Option], everything: dict[str, list[tuple[str, Stanza]]]
) -> list[str]:
    found = [p for o in options if o.key in (*_PORTS, *_PARENTS) for p in o.value.split()]
    found = [port for port in found if port not in _NO_PORTS]
    for other, stanzas in everything.items():
        masters = [o.value for _, stanza in stanzas for o in stanza.options if o.key in _MASTERS]
        found += [other] if name in masters else []
    parent = name.partition(".")[0]
    return [*found, parent] if parent != name and not found else found


def _role(name: str, methods: Sequence[str], options: Sequence[Option], ports: Sequence[str]) -> Role:
    if ports or any(o.key in _PORTS for o in options):
        return Role.STACKED
    is_other = any(m.partition(" ")[2] in _OTHER_METHODS for m in methods)
    return Role.OTHER if is_other or is_virtual(name.partition(":")[0]) else Role.ETHERNET
