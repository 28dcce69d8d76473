"""SysV init scripts and upstart jobs, enabled by files: what `chkconfig NAME on` would do (EL 6, SLES 11)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Advice, Decision, Link, Noop, Remove, WriteFile
from imgfix.errors import GuestError
from imgfix.profile import Profile
from imgfix.steps.edit import edited
from imgfix.textedit import initscript, inittab
from imgfix.tree import Tree

#: EL's first; SUSE's /etc/rc.d is a link to /etc/init.d.
_FOLDERS = ("/etc/rc.d/init.d", "/etc/init.d")
_LEVELS = ("/etc/rc.d/rc{}.d", "/etc/rc{}.d")

#: The levels that `chkconfig NAME on` switches (chkconfig(8)).
_MULTI_USER = "2345"

_INITTAB = "/etc/inittab"
_JOBS = "/etc/init/*.conf"
#: EL 6 starts a login on the kernel's primary console, the last one on its command line:
#: https://docs.redhat.com/en/documentation/red_hat_enterprise_linux/6/html/migration_planning_guide/sect-networking-upstart
_PRIMARY = "/etc/init/serial.conf"


def find(tree: Tree, names: Sequence[str]) -> tuple[str, str] | None:
    """Return (name, path) of the first init script of `names` that the guest has, or None; units are none."""
    for name in (n for n in names if "." not in n):
        for folder in _FOLDERS:
            if files.is_file(tree, f"{folder}/{name}"):
                return name, f"{folder}/{name}"
    return None


def enabled(tree: Tree, name: str, path: str, reason: str) -> Iterator[Decision]:
    """Decide what starts the init script `name` (file `path`) at boot: a link in the folder of each run level.

    Raises GuestError for a script whose place in the order is not in it and that no link starts yet.
    """
    text = files.read_text(tree, path)
    levels = [level for level in initscript.levels(text) or _MULTI_USER if level in _MULTI_USER]
    off = [level for level in levels if not _links(tree, level, "S", name)]
    number = initscript.start_number(text)
    if not off:
        yield Noop(f"{name} is enabled")
        return
    if number is None:
        raise GuestError(
            f"{path}: {name} does not start in run level {', '.join(off)}, and its script has no chkconfig line "
            "that says in which order it should",
            hint=f"enable it in the guest: insserv {name}, update-rc.d {name} defaults",
        )
    for level in off:
        for link in _links(tree, level, "K", name):
            yield Remove(link, f"{reason}: it was off in run level {level}")
        folder = _folder(tree, level)
        yield Link(f"{folder}/S{number:02}{name}", _target(tree, path, folder), reason)


def disabled(tree: Tree, name: str, path: str, reason: str) -> Iterator[Decision]:
    """Decide what keeps the init script `name` (file `path`) from starting: a stop link in each of these run levels."""
    number = initscript.stop_number(files.read_text(tree, path))
    on = [level for level in _MULTI_USER if _links(tree, level, "S", name)]
    if not on:
        yield Noop(f"{name} is off")
    for level in on:
        for link in _links(tree, level, "S", name):
            yield Remove(link, reason)
        if number is not None:
            folder = _folder(tree, level)
            yield Link(f"{folder}/K{number:02}{name}", _target(tree, path, folder), reason)


def _target(tree: Tree, path: str, folder: str) -> str:
    return posixpath.relpath(files.resolve(tree, path), files.resolve(tree, folder))


def _folder(tree: Tree, level: str) -> str:
    places = [pattern.format(level) for pattern in _LEVELS]
    return next((place for place in places if files.is_dir(tree, place)), places[0])


def _links(tree: Tree, level: str, kind: str, name: str) -> tuple[str, ...]:
    """Return the links that start (S) or stop (K) the service in a run level."""
    return files.glob(tree, f"{_folder(tree, level)}/{kind}[0-9][0-9]{name}")


def login(profile: Profile, tree: Tree, port: str) -> Iterator[Decision]:
    """Decide on a login on serial port `port` of a guest without systemd."""
    jobs = [path for path in files.glob(tree, _JOBS) if files.is_file(tree, path)]
    if jobs:
        yield _upstart(profile, tree, jobs, port)
    elif files.is_file(tree, _INITTAB):
        yield edited(
            tree,
            _INITTAB,
            lambda text: inittab.with_login(text, port) if inittab.is_sysv(text) else text,
            reason=f"a login on {port}",
            settled=f"has a login on {port}",
        )
    else:
        yield Advice(f"the guest has no serial-getty@.service, no upstart and no inittab: no login on {port}")


def _upstart(profile: Profile, tree: Tree, jobs: Sequence[str], port: str) -> Decision:
    if files.is_file(tree, _PRIMARY) and _is_primary(profile, port):
        return Noop(f"{_PRIMARY} starts a login on {port}, the primary console")
    own = rf"^[ \t]*exec\b.*getty.*\b{port}\b"
    if any(re.search(own, files.read_text(tree, path), re.MULTILINE) for path in jobs):
        return Noop(f"an upstart job has a login on {port}")
    text = (
        f"# imgfix: a login on {port}, which need not be the primary console\n"
        "start on stopped rc RUNLEVEL=[2345]\n"
        "stop on runlevel [!2345]\n"
        "respawn\n"
        f"exec /sbin/agetty -L 115200 {port} vt100\n"
    )
    return WriteFile(f"/etc/init/{port}.conf", text.encode(), f"a login on {port}")


def _is_primary(profile: Profile, port: str) -> bool:
    consoles = [arg for arg in profile.kernel_args.add if arg.startswith("console=")]
    return bool(consoles) and consoles[-1].removeprefix("console=").split(",")[0] == port
