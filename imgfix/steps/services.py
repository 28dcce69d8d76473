"""What must start at boot: the SSH server, the agents, a login on the serial console (R13, R16, R17, R26)."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps import initscripts, units
from imgfix.steps.edit import edited
from imgfix.tree import Tree

SECURETTY = "/etc/securetty"


class Services:
    """Enables the profile's units."""

    name = "services"
    requirements = ("R13", "R16", "R17", "R26")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield links, removals of masks, or Noops for each service."""
        for role, names in profile.services.enable.items():
            if names is None or (role.startswith("cloud-init") and profile.provisioner != "cloud-init"):
                continue
            yield from _service(profile, tree, role, names)
        if profile.provisioner != "cloud-init":
            yield from _no_cloud_init(tree)
        if profile.services.serial_console is not None:
            yield from _console(profile, tree, profile.services.serial_console)


def _service(profile: Profile, tree: Tree, role: str, names: tuple[str, ...]) -> Iterator[Decision]:
    found, script = units.find(tree, names), initscripts.find(tree, names)
    if found is not None:
        yield from units.enabled(tree, *found, reason=f"{role} starts at boot")
    elif script is not None:
        yield from initscripts.enabled(tree, *script, reason=f"{role} starts at boot")
    elif profile.packages.missing == "warn" or role in profile.services.optional:
        yield Advice(f"{role}: the guest has none of {', '.join(names)}; it will not start at boot")
    else:
        raise GuestError(
            f"{role}: the guest has none of the units {', '.join(names)}",
            hint="install it in the guest, name its unit under services.enable in the profile, or null to do without",
        )


def _no_cloud_init(tree: Tree) -> Iterator[Decision]:
    """systemd's generator heeds /etc/cloud/cloud-init.disabled; init scripts (EL 6) do not, and are taken out."""
    for name in ("cloud-init-local", "cloud-init", "cloud-config", "cloud-final"):
        script = initscripts.find(tree, [name])
        if script is not None and units.find(tree, [f"{name}.service"]) is None:
            yield from initscripts.disabled(tree, *script, reason="cloud-init does not provision this guest")


def _console(profile: Profile, tree: Tree, port: str) -> Iterator[Decision]:
    name = f"serial-getty@{port}.service"
    found = units.find(tree, [name])
    if found is None:
        yield from initscripts.login(profile, tree, port)
    else:
        yield from units.enabled(tree, *found, reason=f"a login on {port}", wanted_by=("getty.target",))
    if files.is_file(tree, SECURETTY):
        yield edited(
            tree,
            SECURETTY,
            lambda text: text if port in text.split() else _with_line(text, port),
            reason=f"root may log in on {port}",
            settled=f"has {port}",
        )


def _with_line(text: str, line: str) -> str:
    return text + ("" if not text or text.endswith("\n") else "\n") + line + "\n"
