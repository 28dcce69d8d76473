"""What else in a guest speaks of its NICs: udev's names, firewalls, static DNS."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, Remove
from imgfix.steps.edit import edited
from imgfix.steps.network import keyfile, managers
from imgfix.textedit import udev_rules
from imgfix.textedit.udev_rules import Rule
from imgfix.tree import Kind, Tree

_RULES = "/etc/udev/rules.d/*.rules"
_RESOLV = "/etc/resolv.conf"

#: Files that bind services to a NIC by its name, where no manager would change it.
_PLACES = (
    *(
        "/etc/firewalld/zones/*.xml",
        "/etc/firewalld/direct.xml",
        "/etc/sysconfig/iptables",
        "/etc/sysconfig/ip6tables",
    ),
    *(
        "/etc/iptables/rules.v4",
        "/etc/iptables/rules.v6",
        "/etc/nftables.conf",
        "/etc/sysconfig/nftables.conf",
    ),
    *(
        "/etc/nftables/*.nft",
        "/etc/ufw/*.rules",
        "/etc/dnsmasq.conf",
        "/etc/dnsmasq.d/*",
        "/etc/default/isc-dhcp-server",
    ),
    *("/etc/keepalived/keepalived.conf", "/etc/sysconfig/dhcpd", "/etc/sysctl.conf", "/etc/sysctl.d/*.conf"),
    *("/etc/shorewall/interfaces", "/etc/sysconfig/SuSEfirewall2", "/etc/dhcpcd.conf"),
)


def names_by_udev(tree: Tree) -> Iterator[Decision]:
    """Yield the removal of udev rules that give NICs names; the rest of a file stays."""
    for path in files.glob(tree, _RULES):
        if not files.is_file(tree, path):
            continue
        text = files.read_text(tree, path)
        rules = udev_rules.parse(text)
        doomed = [rule for rule in rules if _names_a_nic(rule)]
        if doomed and len(doomed) == len(rules):
            yield Remove(path, "names NICs of the old machine")
        elif doomed:
            yield edited(
                tree,
                path,
                lambda text: udev_rules.without(text, _names_a_nic),
                reason="names NICs of the old machine",
                settled="",
            )


def _names_a_nic(rule: Rule) -> bool:
    return rule.value("SUBSYSTEM") == "net" and rule.value("NAME", assigned=True) is not None


def of_old_nics(tree: Tree, names: Collection[str], nic: str) -> Iterator[Advice]:
    """Yield advice on each file that names a dropped NIC: a firewall, say, that lets nothing in by `nic`."""
    words = sorted(name for name in names if name != nic and re.fullmatch(r"[A-Za-z][\w.-]*", name))
    if not words:
        return
    pattern = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, words))})(?![\w-])")
    for place in _PLACES:
        for path in files.glob(tree, place):
            entry = files.stat(tree, path)
            if entry is None or entry.kind is not Kind.FILE:
                continue
            found = sorted({match[1] for match in pattern.finditer(files.read_text(tree, path))})
            if found:
                yield Advice(f"{path} names {', '.join(found)}; on Azure the first NIC is {nic}")


def static_dns(tree: Tree, readers: frozenset[str]) -> Iterator[Advice]:
    """Yield advice where /etc/resolv.conf names servers of the old network and nobody rewrites it."""
    entry = tree.lstat(_RESOLV)
    if entry is None or entry.kind is not Kind.FILE:
        return
    servers = re.findall(r"(?m)^[ \t]*nameserver[ \t]+(\S+)", files.read_text(tree, _RESOLV))
    resolved = managers.starts(tree, "systemd-resolved.service")
    by_networkd = bool(readers & {"systemd-networkd", "netplan"}) and not resolved
    by_nobody = readers == {"NetworkManager"} and keyfile.configured(tree, "main", "dns") == "none"
    if servers and (by_networkd or by_nobody):
        yield Advice(
            f"{_RESOLV} names {', '.join(servers)}, and nothing in the guest rewrites it; "
            "Azure's DNS server is 168.63.129.16"
        )
