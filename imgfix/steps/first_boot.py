"""What the VM does once, at its first boot: a script and the unit (before systemd: a line of rc.local) that starts it.

The script takes itself and its start away before it does anything: what it does is not done twice, even if it
restarts the machine half-way.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Link, Noop
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps import units
from imgfix.steps.edit import edited, placed, unfollowed
from imgfix.textedit import rclocal
from imgfix.tree import Tree

SCRIPT = "/var/lib/imgfix/first-boot"
NAME = "imgfix-first-boot.service"
UNIT = f"{units.ADMIN}/{NAME}"
START = f"{units.ADMIN}/multi-user.target.wants/{NAME}"
#: Enterprise Linux 6 and Debian's sysvinit.
RC_LOCALS = ("/etc/rc.d/rc.local", "/etc/rc.local")
RC_LINE = f"[ ! -f {SCRIPT} ] || /bin/sh {SCRIPT} # imgfix-first-boot"

#: A shell of its own: a script in /var may be on a file system without exec, and has no label to be executed by.
_UNIT = f"""\
# imgfix: this runs once, at the first boot, and removes itself
[Unit]
Description=Commands of the image for its first boot
ConditionPathExists={SCRIPT}
Wants=network-online.target
# Accounts are there when cloud-init's config stage is over; its final stage may wait for multi-user.target itself.
After=network-online.target cloud-config.service

[Service]
Type=oneshot
ExecStart=/bin/sh {SCRIPT}
StandardOutput=journal+console

[Install]
WantedBy=multi-user.target
"""

_HEAD = """\
#!/bin/sh
# imgfix: this runs once, at the first boot; first it removes itself, so that nothing here is done twice
%s
status=0
run() {
  what=$1
  shift
  echo "imgfix: $what"
  "$@" || { status=$?; echo "imgfix: failed with status $status: $what" >&2; }
}
"""

#: waagent makes accounts and host name while other services start: wait for it, at most five minutes.
_WAIT = """\
tries=0
until [ -e /var/lib/waagent/provisioned ] || [ $tries = 300 ]; do sleep 1; tries=$((tries + 1)); done
"""


class FirstBoot:
    """Puts the profile's commands for the first boot in place, in both modes."""

    name = "first_boot"
    requirements = ()

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield the script and what starts it, or a Noop."""
        if not any(profile.first_boot.values()):
            yield Noop("the profile has nothing for the first boot")
            return
        reason = "commands for the first boot"
        if any(files.is_dir(tree, folder) for folder in units.FOLDERS[2:]):
            script = _script(profile, f"rm -f {START} {UNIT} {SCRIPT}")
            yield from placed(tree, UNIT, _UNIT.encode(), reason=reason)
            entry = unfollowed(tree, START)
            yield Noop(f"{NAME} is enabled") if entry is not None else Link(START, UNIT, reason)
        else:
            found = next((path for path in RC_LOCALS if files.is_file(tree, path)), None)
            if found is None:
                raise GuestError(
                    "first_boot: the guest has neither systemd nor an rc.local to start the commands with",
                    hint=f"make {RC_LOCALS[0]} in the guest, or do without first_boot in the profile",
                )
            real = files.resolve(tree, found)
            script = _script(profile, f"sed -i /imgfix-first-boot/d {shlex.quote(real)}; rm -f {SCRIPT}")
            yield edited(
                tree,
                real,
                lambda text: rclocal.with_line(text, RC_LINE),
                reason=reason,
                settled="starts the commands for the first boot",
            )
        yield from placed(tree, SCRIPT, script.encode(), mode=0o700, reason=reason)


def _script(profile: Profile, removal: str) -> str:
    commands = [
        shlex.join(("run", name, *run)) for name, run in profile.first_boot.items() if run is not None
    ]
    wait = _WAIT if profile.provisioner == "waagent" else ""
    return _HEAD % removal + wait + "\n".join(commands) + "\nexit $status\n"
