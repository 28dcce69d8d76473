"""What else in a guest speaks of its NICs: firewalls, services, static DNS. It is told, not changed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from imgfix import tree as files
from imgfix.change import Advice
from imgfix.steps.network import keyfile, managers
from imgfix.tree import Kind, Tree

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


def of_old_nics(tree: Tree, names: Collection[str], nic: str) -> Iterator[Advice]:
    """Yield advice on each file that names a dropped NIC: a firewall, say, that lets nothing in by `nic`."""
    words = sorted(name for name in names if name != nic and re.fullmatch(r"[A-Za-z][\w.-]*", name))
    if not words:
        return
    pattern = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, words))})(?![\w-])")
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
