"""DHCP for the first NIC, in every network manager that the guest has (issue 3, "Network").

On Azure the first NIC is eth0, its address comes by DHCP whatever the guest says, and none of the old machine's NICs
is there. So what describes those goes, static settings are told, and the manager in charge gets a minimal
configuration where it would not do DHCP on eth0 without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imgfix.change import Advice, Decision, Noop
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.network import cloud_config, keyfile, managers, mentions, netplan, networkd, sriov, udev
from imgfix.steps.network.ifcfg import Ifcfg
from imgfix.steps.network.ifupdown import Ifupdown
from imgfix.steps.network.interface import Interface, Role, Store, advice, doomed
from imgfix.steps.network.keyfile import Keyfile
from imgfix.steps.network.netplan import Netplan
from imgfix.steps.network.networkd import Networkd
from imgfix.steps.network.suse import Suse
from imgfix.tree import Tree

#: In order of precedence where several managers start and none has a configuration.
STORES: tuple[Store, ...] = (Suse(), Keyfile(), Ifupdown(), Ifcfg(), Netplan(), Networkd())

#: Readers that call a DHCP client; the others have one built in.
_CALLS_CLIENT = frozenset({"ifupdown", "network-scripts"})


def unwanted_args(profile: Profile) -> tuple[str, ...]:
    """Return the kernel arguments that set up the old machine's network in the initramfs (dracut.cmdline(7)).

    `ip=dhcp` names no NIC and stays.
    """
    if not profile.network.dhcp:
        return ()
    return ("ip=*:*", "ifname=*", "bootdev=*", "bond=*:*", "bridge=*:*", "team=*:*", "vlan=*:*")


@dataclass(frozen=True, slots=True)
class _Found:
    """One store as it was before anything was dropped."""

    store: Store
    reader: str | None
    interfaces: tuple[Interface, ...]

    @property
    def is_used(self) -> bool:
        """Tell whether it configures network cards; what packages ship for whatever NIC is no sign of that."""
        cards = any(i.role is Role.ETHERNET and i.path.startswith("/etc/") for i in self.interfaces)
        return cards or bool(doomed(self.interfaces))

    @property
    def is_static(self) -> bool:
        return any(i.static and i.role is not Role.OTHER for i in self.interfaces)


class Network:
    """Drops what describes the old machine's NICs, and sees to DHCP on the first one."""

    name = "network"
    requirements = ()

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield edits and removals of each store, advice on static settings, and one file where DHCP needs it."""
        if profile.network.dhcp:
            yield from _dhcp(profile, facts, tree)
        else:
            yield Noop("the profile leaves the network alone")
        if profile.network.sriov_rule:
            by_netplan = Netplan().reader(tree, profile.network.interface) is not None
            networkd_runs = by_netplan and netplan.renderer(tree) != "NetworkManager"
            yield from sriov.unmanaged(tree, networkd=networkd_runs or managers.networkd_starts(tree))


def _dhcp(profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
    nic = profile.network.interface
    found = [_Found(store, store.reader(tree, nic), store.interfaces(tree, nic)) for store in STORES]
    kept = [one for one in found if profile.network.keep_static and one.is_static]
    gone: list[Interface] = []
    for one in found:
        lost = () if one in kept else doomed(one.interfaces)
        gone += lost
        yield from advice(lost)
        if one in kept:
            yield _stays(one, nic)
        else:
            yield from one.store.cleaned(tree, nic, lost)
    yield from networkd.links(tree)
    yield from udev.names(tree)
    charge = _in_charge(found)
    needed = (
        [one for one in found if isinstance(one.store, Ifcfg)] if _agent_needs_ifcfg(profile, facts) else []
    )
    ensured = [*needed, *(one for one in charge if one not in needed)]
    yield from _ensured([one for one in ensured if one not in kept], found, tree, nic)
    readers = frozenset(one.reader for one in charge if one.reader)
    if not readers:
        yield Advice(f"no network manager is known to start at boot; on Azure {nic} needs one that does DHCP")
    if profile.provisioner == "cloud-init":
        by_guest = bool(readers) and not profile.cloud_init.apply_network_config
        yield from cloud_config.disabled(tree, wanted=by_guest)
    yield from cloud_config.leftover(tree)
    yield from mentions.of_old_nics(tree, {i.name for i in gone}, nic)
    yield from mentions.static_dns(tree, readers)


def _agent_needs_ifcfg(profile: Profile, facts: Facts) -> bool:
    """Tell whether the Azure Linux Agent provisions a relative of Red Hat.

    It keeps the host name in ifcfg-eth0 there, whoever reads that, and ends with an error where the file is missing:
    set_dhcp_hostname in azurelinuxagent/common/osutil/redhat.py.
    """
    return profile.provisioner == "waagent" and facts.distro.family == "rhel"


def _in_charge(found: Sequence[_Found]) -> list[_Found]:
    """Return the stores that must make the NIC do DHCP: those in use, else that of the first manager that starts."""
    read = [one for one in found if one.reader]
    used = [one for one in read or found if one.is_used]
    return used or read[:1]


def _ensured(charge: Sequence[_Found], found: Sequence[_Found], tree: Tree, nic: str) -> Iterator[Decision]:
    """Yield a configuration for each store in charge, unless its manager does DHCP on `nic` as things are."""
    zones = {i.zone for one in found for i in one.interfaces if i.zone}
    if len(zones) > 1:
        yield Advice(
            f"the NICs were in the firewall zones {', '.join(sorted(zones))}; {nic} is in the default zone"
        )
    zone = zones.pop() if len(zones) == 1 else None
    for one in charge:
        # A manager that reads two stores (ifcfg files, keyfiles) needs one profile, not two.
        same = [other for other in charge if other.reader == one.reader]
        if any(i.fits for other in same for i in other.store.interfaces(tree, nic)):
            yield Noop(f"{one.store.title}: {nic} does DHCP")
        elif isinstance(one.store, Keyfile) and not one.is_used and keyfile.does_dhcp_by_itself(tree, nic):
            yield Noop("NetworkManager does DHCP on a NIC that has no profile")
        elif one.reader in _CALLS_CLIENT and not managers.has_dhcp_client(tree):
            raise GuestError(
                f"{nic} needs DHCP, and the guest has no client that {one.reader} could call: "
                "no dhclient, dhcpcd or udhcpc",
                hint="install one in the guest, or leave the network alone: --set network.dhcp=false",
            )
        else:
            yield from one.store.written(tree, nic, zone)


def _stays(one: _Found, nic: str) -> Advice:
    told = [f"{i.name}: {', '.join(i.values)}" for i in one.interfaces if i.static]
    return Advice(
        f"{one.store.title} stays as it is ({'; '.join(told)}); on Azure the first NIC is {nic}, "
        "and Azure gives its address by DHCP"
    )
