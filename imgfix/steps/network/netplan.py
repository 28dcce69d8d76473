"""netplan: YAML that it turns into configuration of systemd-networkd or NetworkManager at boot.

https://netplan.readthedocs.io/en/stable/netplan-yaml/
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator, Mapping, Sequence

from imgfix import tree as files
from imgfix.change import Decision, Remove, WriteFile
from imgfix.steps.edit import parsing, written
from imgfix.steps.network.interface import DRIVER, Interface, Role, flattened
from imgfix.textedit import netplan
from imgfix.textedit.netplan import Definition
from imgfix.tree import Tree

FOLDER = "/etc/netplan"
FILE = f"{FOLDER}/90-imgfix.yaml"
#: In order of precedence: a file of the same name in a later folder is not read.
_FOLDERS = (FOLDER, "/usr/lib/netplan", "/lib/netplan")
_GENERATORS = ("/usr/libexec/netplan/generate", "/usr/lib/netplan/generate", "/lib/netplan/generate")

_STACKED = frozenset({"bonds", "bridges", "vlans", "vrfs"})
_STATIC = frozenset({"addresses", "gateway4", "gateway6", "nameservers", "routes", "routing-policy"})
_GLOB = frozenset("*?[!")

#: Settings that say nothing of the old network, or only which NIC they are for.
_BOILERPLATE = frozenset(
    {
        "dhcp4",
        "dhcp6",
        "optional",
        "match",
        "set-name",
        "renderer",
        "critical",
        "dhcp-identifier",
        "accept-ra",
    }
    | {"link-local", "interfaces", "link", "id", "networkmanager", "dhcp4-overrides", "dhcp6-overrides"}
)


class Netplan:
    """The store in /etc/netplan."""

    title = FOLDER

    def reader(self, tree: Tree, nic: str) -> str | None:
        """See Store."""
        return "netplan" if any(files.is_file(tree, path) for path in _GENERATORS) else None

    def interfaces(self, tree: Tree, nic: str) -> tuple[Interface, ...]:
        """See Store. netplan merges the definitions of one name, whatever file they stand in."""
        merged: dict[tuple[str, str], tuple[str, dict[str, object]]] = {}
        for path in _yamls(tree):
            for definition in _definitions(tree, path):
                key = (definition.group, definition.name)
                first, settings = merged.get(key, (path, {}))
                merged[key] = (first, _merged(settings, definition.settings))
        return tuple(
            _interface(path, group, name, settings, nic) for (group, name), (path, settings) in merged.items()
        )

    def cleaned(self, tree: Tree, nic: str, gone: Sequence[Interface]) -> Iterator[Decision]:
        """See Store."""
        names = {interface.name for interface in gone}
        for path in (p for p in _yamls(tree) if p.startswith(FOLDER)):
            mine = [d.name for d in _definitions(tree, path) if d.name in names]
            if not mine:
                continue
            reason = f"{', '.join(mine)} {'is' if len(mine) == 1 else 'are'} of the old machine"
            with parsing(path):
                left = netplan.without(files.read_text(tree, path), lambda d: d.name in names)
                is_bare = netplan.is_bare(left)
            if is_bare:
                yield Remove(path, reason)
            else:
                yield WriteFile(path, left.encode("utf-8", "surrogateescape"), reason)

    def written(self, tree: Tree, nic: str, zone: str | None) -> Iterator[Decision]:
        """See Store. netplan knows no zones of firewalld."""
        text = f"network:\n  version: 2\n  ethernets:\n    {nic}:\n      dhcp4: true\n"
        yield written(
            tree,
            FILE,
            f"# imgfix: Azure gives addresses by DHCP\n{text}",
            reason=f"{nic} does DHCP",
            mode=0o600,
        )


def renderer(tree: Tree) -> str | None:
    """Return the renderer for all definitions, of the last file that sets one; None: networkd."""
    found: str | None = None
    for path in _yamls(tree):
        with parsing(path):
            found = netplan.renderer(files.read_text(tree, path)) or found
    return found


def _yamls(tree: Tree) -> list[str]:
    """Return the files in the order in which netplan reads them: by name."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in files.glob(tree, f"{folder}/*.yaml"):
            if files.is_file(tree, path):
                found.setdefault(posixpath.basename(path), path)
    return [found[name] for name in sorted(found)]


def _definitions(tree: Tree, path: str) -> tuple[Definition, ...]:
    with parsing(path):
        return netplan.definitions(files.read_text(tree, path))


def _merged(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """Merge as netplan does: mappings by key, lists one behind the other, else the later value."""
    result = dict(old)
    for key, value in new.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = _merged(below, value)
        elif isinstance(below, list) and isinstance(value, list):
            value = [*below, *value]
        result[key] = value
    return result


def _interface(path: str, group: str, name: str, settings: Mapping[str, object], nic: str) -> Interface:
    role = Role.ETHERNET if group == "ethernets" else Role.STACKED if group in _STACKED else Role.OTHER
    static = any(settings.get(key) for key in _STATIC)
    match = settings.get("match")
    conditions = {str(k): str(v) for k, v in match.items()} if isinstance(match, dict) else None
    is_card = role is Role.ETHERNET
    is_plain = (
        is_card and not static and not settings.get("macaddress") and settings.get("set-name") in (None, nic)
    )
    ports = settings.get("interfaces") or settings.get("link") or []
    uses = [str(port) for port in ports] if isinstance(ports, list) else [str(ports)]
    kind = f"{group.removesuffix('s')} of {', '.join(uses)}" if role is Role.STACKED and uses else ""
    return Interface(
        path,
        name,
        role,
        values=(*([kind] if kind else []), *flattened(settings, _BOILERPLATE)),
        static=static,
        fits=is_plain and _is_for(name, conditions, nic) and _is_true(settings.get("dhcp4")),
        generic=not path.startswith(FOLDER)
        or (is_plain and conditions is not None and _is_pattern(conditions)),
        uses=tuple(uses) if role is Role.STACKED else (),
    )


def _is_for(name: str, conditions: Mapping[str, str] | None, nic: str) -> bool:
    if conditions is None:
        return name == nic
    rest = conditions.keys() - {"name", "driver"}
    drivers = conditions.get("driver", "*").split()
    pattern = conditions.get("name", "*")
    return not rest and _matches(nic, pattern) and any(fnmatch.fnmatchcase(DRIVER, d) for d in drivers)


def _matches(nic: str, pattern: str) -> bool:
    """Tell whether a pattern takes `nic`; networkd, which gets it, reads a leading `!` as a no."""
    return fnmatch.fnmatchcase(nic, pattern.removeprefix("!")) != pattern.startswith("!")


def _is_pattern(conditions: Mapping[str, str]) -> bool:
    """Tell whether the conditions hold for NICs of any machine: a pattern of names, drivers."""
    return "macaddress" not in conditions and (bool(_GLOB & set(conditions.get("name", "*"))))


def _is_true(value: object) -> bool:
    """Tell what netplan takes for true (handle_generic_bool in parse.c); YAML 1.1 knows most of it."""
    return value is True or str(value).lower() in ("true", "on", "yes", "y")
