"""Accelerated networking: the second NIC (SR-IOV) behind the first is the kernel's business, no manager's.

hv_netvsc bonds the virtual function to the synthetic NIC by itself; a manager that configures the function breaks it.
https://learn.microsoft.com/azure/virtual-network/create-vm-accelerated-networking-cli
"""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Noop
from imgfix.steps.edit import written
from imgfix.steps.network import managers
from imgfix.tree import Tree

RULE = "/etc/udev/rules.d/68-azure-sriov-nm-unmanaged.rules"
NETWORK = "/etc/systemd/network/01-imgfix-azure-sriov.network"

#: azure-vm-utils' rules, which do the same for both managers and more exactly:
#: https://github.com/Azure/azure-vm-utils/tree/main/udev
_BETTER = "*-azure-unmanaged-sriov.rules"
_RULES = ("/etc/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
_NETWORKS = ("/etc/systemd/network/*.network", "/usr/lib/systemd/network/*.network")

_RULE_TEXT = """\
# imgfix: with accelerated networking a second, SR-IOV interface appears behind the first.
# The kernel bonds the two; NetworkManager must leave it alone.
SUBSYSTEM=="net", DRIVERS=="hv_pci", ACTION!="remove", ENV{NM_UNMANAGED}="1"
"""
_NETWORK_TEXT = """\
# imgfix: with accelerated networking a second, SR-IOV interface appears behind the first.
# The kernel bonds the two; systemd-networkd must leave it alone.
[Match]
Driver=mlx4_en mlx5_en mlx4_core mlx5_core mana

[Link]
Unmanaged=yes
"""


def unmanaged(tree: Tree, *, networkd: bool) -> Iterator[Decision]:
    """Yield what keeps NetworkManager, where it is installed, and networkd, where it runs, off SR-IOV NICs."""
    if any(files.glob(tree, f"{folder}/{_BETTER}") for folder in _RULES):
        yield Noop("azure-vm-utils keeps SR-IOV NICs unmanaged")
        return
    if managers.has_network_manager(tree):
        known = any(
            "hv_pci" in text and "NM_UNMANAGED" in text for text in _texts(tree, f"{_RULES[0]}/*.rules")
        )
        if known:
            yield Noop("NetworkManager leaves SR-IOV NICs alone")
        else:
            yield written(tree, RULE, _RULE_TEXT, reason="NetworkManager leaves SR-IOV NICs alone")
    if networkd:
        known = any(
            "mlx5_core" in text and "Unmanaged" in text for p in _NETWORKS for text in _texts(tree, p)
        )
        if known:
            yield Noop("systemd-networkd leaves SR-IOV NICs alone")
        else:
            yield written(tree, NETWORK, _NETWORK_TEXT, reason="systemd-networkd leaves SR-IOV NICs alone")


def _texts(tree: Tree, pattern: str) -> list[str]:
    return [files.read_text(tree, path) for path in files.glob(tree, pattern) if files.is_file(tree, path)]
