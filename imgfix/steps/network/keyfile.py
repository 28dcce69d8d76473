"""NetworkManager's keyfiles, and whether it does DHCP on a NIC that no profile is for.

nm-settings-keyfile(5), NetworkManager.conf(5). Profiles that others than root can read are ignored
(nm_keyfile_utils_check_file_permissions in nm-keyfile-utils.c).
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Decision, Remove
from imgfix.steps.edit import edited, parsing, written
from imgfix.steps.network import managers, netplan
from imgfix.steps.network.interface import Interface, Role, shown
from imgfix.textedit import ini
from imgfix.textedit.ini import Entry, Grammar
from imgfix.tree import Kind, Tree

FOLDER = "/etc/NetworkManager/system-connections"
#: Profiles of packages, which the guest may have and imgfix leaves alone.
_PACKAGED = "/usr/lib/NetworkManager/system-connections/*.nmconnection"

#: NetworkManager's configuration, in order: a file of one name in a later folder replaces the earlier one.
_CONF_FOLDERS = ("/usr/lib/NetworkManager/conf.d", "/etc/NetworkManager/conf.d")
_CONF = "/etc/NetworkManager/NetworkManager.conf"

_IGNORED = re.compile(r"^\.|~$|\.(swp|swx|pem|der|rpmsave|rpmnew|rpmorig|bak|orig)$")

_STACKED = frozenset({"bond", "team", "bridge", "vlan", "macvlan", "vrf", "ovs-bridge", "ovs-port", "hsr"})
_STACKED |= {"ovs-interface", "bond-slave"}
_ETHERNET = ("ethernet", "802-3-ethernet")
_MASTERS = ("master", "controller")
_PARENTS = (("vlan", "parent"), ("macvlan", "parent"))

#: Words for cloned-mac-address that are no address (nm-settings-nmcli(5)).
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$")
_STATIC = re.compile(r"(address|addresses|gateway|dns|route|routes|routing-rule)\d*(_options)?$")

_BOILERPLATE = frozenset(
    {("connection", key) for key in ("id", "uuid", "type", "interface-name", "autoconnect", "timestamp")}
    | {("connection", key) for key in ("autoconnect-priority", "permissions", "autoconnect-slaves", "zone")}
    | {("ipv6", key) for key in ("addr-gen-mode", "method", "ip6-privacy", "never-default", "may-fail")}
    | {("ipv4", key) for key in ("method", "never-default", "may-fail")}
    | {(section, key) for section in _ETHERNET for key in ("mac-address", "mac-address-blacklist")}
)


class Keyfile:
    """The store in /etc/NetworkManager/system-connections."""

    title = FOLDER

    def reader(self, tree: Tree, nic: str) -> str | None:
        """See Store."""
        by_netplan = netplan.renderer(tree) == "NetworkManager"
        managed = by_netplan or manages_ethernet(tree, nic)
        return "NetworkManager" if managed and managers.network_manager_starts(tree) else None

    def interfaces(self, tree: Tree, nic: str) -> tuple[Interface, ...]:
        """See Store."""
        found = {path: _entries(tree, path) for path in _profiles(tree)}
        return tuple(_interface(tree, path, entries, found, nic) for path, entries in found.items())

    def cleaned(self, tree: Tree, nic: str, gone: Sequence[Interface]) -> Iterator[Decision]:
        """See Store."""
        for interface in gone:
            unread = not _is_private(tree, interface.path)
            why = (
                "NetworkManager ignores a profile that others can read" if unread else "is of the old machine"
            )
            yield Remove(interface.path, why if unread else f"{interface.name} {why}")
        for interface in self.interfaces(tree, nic):
            if interface.fits and interface.path.startswith(FOLDER):
                yield edited(
                    tree,
                    interface.path,
                    lambda text: ini.without(text, Grammar.GLIB, _pins),
                    reason="pinned to a NIC of the old machine",
                    settled="pinned to no NIC",
                )

    def written(self, tree: Tree, nic: str, zone: str | None) -> Iterator[Decision]:
        """See Store."""
        lines = ["[connection]", f"id={nic}", "type=ethernet", f"interface-name={nic}"]
        lines += [f"zone={zone}"] if zone else []
        lines += ["", "[ipv4]", "method=auto", "", "[ipv6]", "method=auto"]
        yield written(
            tree,
            f"{FOLDER}/{nic}.nmconnection",
            "# imgfix: Azure gives addresses by DHCP\n" + "\n".join(lines) + "\n",
            reason=f"{nic} does DHCP",
            mode=0o600,
        )


def does_dhcp_by_itself(tree: Tree, nic: str) -> bool:
    """Tell whether NetworkManager makes a profile for a NIC that has none: unless no-auto-default forbids it."""
    specs = re.split(r"[,;]", configured(tree, "main", "no-auto-default"))
    wanted = {"*", nic, f"={nic}", f"interface-name:{nic}", f"interface-name:={nic}", "type:ethernet"}
    return not wanted & {spec.strip() for spec in specs}


def manages_ethernet(tree: Tree, nic: str) -> bool:
    """Tell whether NetworkManager manages `nic`: Ubuntu's packages leave Ethernet to netplan."""
    specs = [s.strip() for s in re.split(r"[,;]", configured(tree, "keyfile", "unmanaged-devices"))]
    excepted = {f"except:{one}" for one in ("type:ethernet", f"interface-name:{nic}", nic)}
    if excepted & set(specs):
        return True
    names = [s.removeprefix("interface-name:").lstrip("=") for s in specs if not s.startswith("except:")]
    return not any(s == "type:ethernet" or (s and fnmatch.fnmatchcase(nic, s)) for s in names)


def configured(tree: Tree, section: str, key: str) -> str:
    """Return the value of `key` in NetworkManager's configuration, `+=` added up; empty where it is not set."""
    named: dict[str, str] = {}
    for folder in _CONF_FOLDERS:
        named |= {posixpath.basename(path): path for path in files.glob(tree, f"{folder}/*.conf")}
    etc = {name: path for name, path in named.items() if path.startswith(_CONF_FOLDERS[1])}
    order = [path for name, path in sorted(named.items()) if name not in etc]
    value = ""
    for path in (*order, _CONF, *(path for _, path in sorted(etc.items()))):
        if not files.is_file(tree, path):
            continue
        for entry in _entries(tree, path):
            if entry.section == section and entry.key == key:
                value = entry.value
            elif entry.section == section and entry.key == f"{key}+":
                value = f"{value};{entry.value}"
    return value


def _profiles(tree: Tree) -> list[str]:
    mine = [p for p in files.glob(tree, f"{FOLDER}/*") if not _IGNORED.search(posixpath.basename(p))]
    return [p for p in (*mine, *files.glob(tree, _PACKAGED)) if files.is_file(tree, p)]


def _entries(tree: Tree, path: str) -> tuple[Entry, ...]:
    with parsing(path):
        return ini.parse(files.read_text(tree, path), Grammar.GLIB)


def _is_private(tree: Tree, path: str) -> bool:
    entry = files.stat(tree, path)
    return entry is not None and entry.kind is Kind.FILE and not entry.mode & 0o077 and entry.uid == 0


def _pins(entry: Entry) -> bool:
    """Tell whether an entry ties a profile to a NIC or to the machine that it was made on."""
    if entry.section in _ETHERNET:
        return entry.key in ("mac-address", "cloned-mac-address") and bool(_MAC.match(entry.value))
    return entry.section == "connection" and entry.key in ("uuid", "timestamp")


def _interface(
    tree: Tree, path: str, entries: tuple[Entry, ...], profiles: dict[str, tuple[Entry, ...]], nic: str
) -> Interface:
    def get(key: str, section: str = "connection") -> str:
        return ini.get(entries, section, key) or ""

    name = get("interface-name") or get("id") or posixpath.basename(path)
    me = {name, get("uuid"), get("id")} - {""}
    others = [e for other, e in profiles.items() if other != path]
    uses = [_name(e) for e in others if any((ini.get(e, "connection", k) or "") in me for k in _MASTERS)]
    parents = [value for section, key in _PARENTS if (value := get(key, section))]
    by_id = {ini.get(e, "connection", "uuid"): _name(e) for e in others}
    static = [
        e for e in entries if e.section in ("ipv4", "ipv6") and _STATIC.match(e.key) and e.value.strip(";")
    ]
    role = _role(get("type"), entries)
    packaged = not path.startswith(FOLDER)
    return Interface(
        path,
        name,
        Role.OTHER if packaged and role is not Role.ETHERNET else role,
        values=tuple(
            shown(f"{e.section}.{e.key}", e.value)
            for e in entries
            if (e.section, e.key) not in _BOILERPLATE and e.value
        ),
        static=bool(static),
        fits=role is Role.ETHERNET
        and _is_for(entries, nic)
        and not static
        and not any(get(key) for key in _MASTERS)
        and get("method", "ipv4") in ("auto", "")
        and get("autoconnect").lower() not in ("false", "no", "0")
        and not get("permissions")
        and _is_private(tree, path),
        generic=packaged,
        uses=tuple(uses + [by_id.get(parent, parent) for parent in parents]),
        zone=get("zone"),
    )


def _name(entries: tuple[Entry, ...]) -> str:
    return ini.get(entries, "connection", "interface-name") or ini.get(entries, "connection", "id") or "?"


def _role(kind: str, entries: tuple[Entry, ...]) -> Role:
    if kind in _STACKED:
        return Role.STACKED
    is_ethernet = kind in _ETHERNET or (not kind and any(e.section in _ETHERNET for e in entries))
    return Role.ETHERNET if is_ethernet else Role.OTHER


def _is_for(entries: tuple[Entry, ...], nic: str) -> bool:
    """Tell whether the profile is for `nic`: by its name, or for want of any condition."""
    name = ini.get(entries, "connection", "interface-name")
    if name:
        return name == nic
    if any(e.section in _ETHERNET and e.key == "mac-address" and e.value for e in entries):
        return False
    conditions = [e for e in entries if e.section == "match" and e.value.strip(";")]
    names = [p for e in conditions if e.key == "interface-name" for p in re.split("[,;]", e.value) if p]
    only_names = all(e.key == "interface-name" for e in conditions)
    return only_names and (not names or any(fnmatch.fnmatchcase(nic, pattern) for pattern in names))
