"""waagent.conf: who provisions, and who makes swap on the resource disk (R18, R19)."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision
from imgfix.facts import agents
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.agent import AUTO_UPDATE, needs_update
from imgfix.steps.edit import edited
from imgfix.textedit import keyvalue
from imgfix.tree import Tree


class Waagent:
    """Sets the keys of waagent.conf; all else in it stays."""

    name = "waagent"
    requirements = ("R13", "R18", "R19")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield one edit of the agent's configuration, or a Noop."""
        path = profile.waagent.config
        if not files.is_file(tree, path):
            yield Advice(f"{path} is missing: the Azure Linux Agent is not installed")
            return
        values = {**_values(profile), **_update(profile, tree), **profile.waagent.values}
        agent = f"provisioning by {profile.provisioner}, {_swap(profile)}"
        yield edited(tree, path, lambda text: _with_values(text, values), reason=agent, settled=agent)


def _swap(profile: Profile) -> str:
    by = profile.swap.resource_disk
    return "no swap on the resource disk" if by == "none" else f"swap on the resource disk by {by}"


def _values(profile: Profile) -> dict[str, str]:
    """Return the keys that follow from the profile; waagent makes no swap unless it formats the disk too."""
    by_waagent = profile.swap.resource_disk == "waagent"
    values = {
        "Provisioning.Agent": profile.provisioner,
        "ResourceDisk.Format": "y" if by_waagent or profile.provisioner == "waagent" else "n",
        "ResourceDisk.EnableSwap": "y" if by_waagent else "n",
    }
    if by_waagent:
        values |= {
            "ResourceDisk.Filesystem": "ext4",
            "ResourceDisk.MountPoint": "/mnt/resource",
            "ResourceDisk.SwapSizeMB": str(profile.swap.size_mib),
        }
    return values


def _update(profile: Profile, tree: Tree) -> dict[str, str]:
    """An agent that is older than Azure supports must update itself; Debian's and SUSE's are told not to."""
    agent = agents.read_agent(tree)
    return {AUTO_UPDATE: "y"} if agent is not None and needs_update(profile, agent) else {}


def _with_values(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = keyvalue.set_value(text, key, value)
    return text
