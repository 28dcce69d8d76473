"""SSH host keys for each new VM (R16, R24).

A generalized image has none. cloud-init makes them at first boot; waagent makes them after sshd has failed for
lack of them, and its reload does nothing to a failed unit. So the unit makes what is missing before it checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps import initscripts, units
from imgfix.steps.edit import written
from imgfix.tree import Tree

_KEYGEN = "/usr/bin/ssh-keygen"


class Ssh:
    """Writes a drop-in of the SSH server's unit, unless the unit makes host keys by itself."""

    name = "ssh"
    requirements = ("R16", "R24")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield the drop-in or a Noop."""
        names = profile.services.enable.get("ssh server") or ()
        unit = units.find(tree, names)
        found = unit or initscripts.find(tree, names)
        if not profile.ssh.generate_host_keys or found is None:
            yield Noop(
                "no SSH server to make host keys for"
                if found is None
                else "the profile leaves host keys alone"
            )
            return
        name, path = found
        text = files.read_text(tree, path)
        # Red Hat's unit wants sshd-keygen.target, SUSE's runs sshd-gen-keys-start; init scripts run ssh-keygen.
        if re.search(r"sshd?-keygen|sshd-gen-keys", text):
            yield Noop(f"{name} makes missing host keys by itself")
            return
        if unit is None:
            yield Advice(f"{path} makes no host keys: a generalized image has none until it is provisioned")
            return
        checks = _commands(text)
        # An empty assignment drops the unit's own commands (systemd.service(5)); they come again, behind ours.
        lines = [
            "[Service]",
            "ExecStartPre=",
            f"ExecStartPre={_KEYGEN} -A",
            *(f"ExecStartPre={c}" for c in checks),
        ]
        yield written(
            tree,
            f"{units.ADMIN}/{name}.d/50-imgfix-host-keys.conf",
            "# imgfix: missing host keys are made before the server checks for them\n"
            + "\n".join(lines)
            + "\n",
            reason="missing host keys are made when the SSH server starts",
        )


def _commands(unit: str) -> list[str]:
    """Return the unit's ExecStartPre commands in force: lines continued, an empty value resets."""
    found: list[str] = []
    for line in re.sub(r"\\\r?\n", " ", unit).splitlines():
        if match := re.match(r"[ \t]*ExecStartPre[ \t]*=(.*)", line):
            found = [*found, " ".join(match[1].split())] if match[1].strip() else []
    return found
