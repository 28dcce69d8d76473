"""The Azure Linux Agent: it can run, and is not older than what Azure supports (R13).

https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/support-extensions-agent-version
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.change import Advice, Decision, Noop
from imgfix.errors import GuestError
from imgfix.facts import agents
from imgfix.facts.agents import Software
from imgfix.facts.model import Facts
from imgfix.packaging.versions import rpm_key
from imgfix.profile import Profile
from imgfix.tree import Tree

AUTO_UPDATE = "AutoUpdate.Enabled"

#: Up to this version the agent cannot update itself (the page above).
_LAST_WITHOUT_UPDATE = "2.1.7"


@dataclass(frozen=True, slots=True)
class _Conflict:
    """A network manager that a distribution's package of the agent conflicts with, below a major version."""

    family: str
    below: int | None
    manager: str


#: https://packages.debian.org/stable/waagent; EL 6: https://github.com/Azure/WALinuxAgent/pull/129
CONFLICTS = (_Conflict("debian", None, "network-manager"), _Conflict("rhel", 7, "NetworkManager"))


def needs_update(profile: Profile, agent: Software) -> bool:
    """Tell whether the agent is older than Azure supports; a version that no file tells counts as new enough."""
    return bool(agent.version) and rpm_key(agent.version) < rpm_key(profile.waagent.supported)


def conflicting_manager(facts: Facts) -> str | None:
    """Return the installed network manager that the agent's package conflicts with, or None."""
    version = facts.distro.version.partition(".")[0]
    for row in CONFLICTS:
        is_old = row.below is None or (version.isdecimal() and int(version) < row.below)
        if facts.distro.family == row.family and is_old and facts.package(row.manager):
            return row.manager
    return None


class Agent:
    """Checks the agent; what is wrong with it stops the apply, or is advice where the profile only warns."""

    name = "agent"
    requirements = ("R13",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield advice or a Noop; raises GuestError for an agent that cannot do its work."""
        agent = agents.read_agent(tree)
        if agent is None:
            yield from _absent(profile)
            return
        faults = [*_python_missing(agent, tree), *_too_old(profile, agent)]
        if faults and profile.packages.missing != "warn":
            message, hint = faults[0]
            raise GuestError(message, hint=f"{hint}; or go on without: --set packages.missing=warn")
        if profile.provisioner == "waagent":
            _require_provisioning(agent, tree)
        yield from (Advice(message) for message, _ in faults)
        if not faults and needs_update(profile, agent):
            yield Advice(
                f"the Azure Linux Agent is {agent.version}, and {profile.waagent.supported} is the oldest that Azure "
                "supports: it is set to update itself, which needs the VM to reach Azure's storage"
            )
        manager = conflicting_manager(facts)
        if manager is not None:
            yield Advice(
                f"{manager} is installed, which the distribution's package of the Azure Linux Agent conflicts with: "
                "an update of either may remove the other; keep one network manager that the distribution supports"
            )
        yield Noop(f"{agent.path}: the Azure Linux Agent {agent.version or 'of unknown version'}")


def _absent(profile: Profile) -> Iterator[Decision]:
    if profile.provisioner == "waagent":
        raise GuestError(
            "the profile has the Azure Linux Agent provision, and the guest has none",
            hint="install it, or let cloud-init provision: --set provisioning.agent=cloud-init",
        )
    yield Advice("the Azure Linux Agent is not installed: no VM extension will work")


def _require_provisioning(agent: Software, tree: Tree) -> None:
    """Debian 11's agent beside its Python never reports Ready; cloud-init does its work there."""
    python = agents.python_too_new(tree, agent)
    if python is not None:
        raise GuestError(
            f"the Azure Linux Agent {agent.version} shall provision and cannot: it calls array.tostring, which the "
            f"guest's Python {python} no longer has",
            hint="let cloud-init provision: --set provisioning.agent=cloud-init; or install a newer agent (2.2.54.2 "
            "can)",
        )


def _python_missing(agent: Software, tree: Tree) -> Iterator[tuple[str, str]]:
    if not agents.has_interpreter(tree, agent.interpreter):
        yield (
            f"{agent.program} runs by {agent.interpreter}, which the guest has not: the Azure Linux Agent cannot start",
            "install Python in the guest, or have it installed: --set packages.add='[python3]'",
        )


def _too_old(profile: Profile, agent: Software) -> Iterator[tuple[str, str]]:
    if not needs_update(profile, agent):
        return
    old = f"{agent.path}: the Azure Linux Agent is {agent.version}, {profile.waagent.supported} is needed"
    if rpm_key(agent.version) <= rpm_key(_LAST_WITHOUT_UPDATE):
        yield (
            f"{old}, and up to {_LAST_WITHOUT_UPDATE} it cannot update itself",
            "update it in the guest, or have a newer one installed: --packages, and in packages.add "
            f"'NAME (>= {profile.waagent.supported})'",
        )
    elif profile.waagent.values.get(AUTO_UPDATE, "y").lower() == "n":
        yield (
            f"{old}, and the profile keeps it from updating itself",
            f"take {AUTO_UPDATE} out of waagent.values, or have a newer agent installed",
        )
