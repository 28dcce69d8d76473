"""agents: the Azure Linux Agent and cloud-init as they lie in the guest, from a package or without one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix import tree as guest
from imgfix.tree import Tree

#: Where Python keeps modules, by whatever installed them: distribution, setup.py, pip.
_PREFIXES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
_SITES = ("site-packages", "dist-packages")

_PROGRAMS = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/opt/bin", "/sbin", "/bin")

#: env(1) asks PATH, which is this for a systemd unit (systemd.exec(5)).
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class Software:
    """A program written in Python: `version` as it tells itself, from the file `path`; `program` is what is run.

    `interpreter` is what its first line asks for: /usr/bin/python3, or a bare name that is looked for in PATH.
    """

    name: str
    version: str
    path: str
    program: str
    interpreter: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a program is recognised: `package_names` of all distributions, its module, and its version there."""

    name: str
    package_names: tuple[str, ...]
    program: str
    module: str
    version: str
    egg: str


AGENT = _Kind(
    name="the Azure Linux Agent",
    package_names=("walinuxagent", "waagent", "WALinuxAgent", "python-azure-agent", "python3-azure-agent"),
    program="waagent",
    module="azurelinuxagent/common/version.py",
    version=r"(?m)^AGENT_VERSION\s*=\s*['\"]([^'\"]+)",
    egg="WALinuxAgent-*.egg",
)

CLOUD_INIT = _Kind(
    name="cloud-init",
    package_names=("cloud-init",),
    program="cloud-init",
    module="cloudinit/version.py",
    version=r"(?m)^__VERSION__\s*=\s*['\"]([^'\"]+)",
    egg="cloud_init-*.egg",
)

KINDS = (AGENT, CLOUD_INIT)

#: Agents before 2.1 are one file (https://github.com/Azure/WALinuxAgent/blob/master/bin/waagent2.0).
_ONE_FILE = r"(?m)^GuestAgentVersion\s*=\s*['\"](?:WALinuxAgent-)?([^'\"]+)"


def read_agent(tree: Tree) -> Software | None:
    """Return the Azure Linux Agent as its files tell it, or None where there is no program of that name."""
    return read_software(tree, AGENT)


def read_software(tree: Tree, kind: _Kind) -> Software | None:
    """Return one of KINDS as its files tell it, or None; a version that no file tells is empty."""
    program = next((p for p in _candidates(kind.program) if guest.is_file(tree, p)), None)
    if program is None:
        return None
    interpreter = _interpreter(guest.read_text(tree, program))
    for path in _modules(tree, kind):
        found = re.search(kind.version, guest.read_text(tree, path))
        if found:
            return Software(kind.name, found[1], path, program, interpreter)
    found = re.search(_ONE_FILE, guest.read_text(tree, program))
    return Software(kind.name, found[1] if found else "", program, program, interpreter)


def has_interpreter(tree: Tree, name: str) -> bool:
    """Tell whether the guest has the interpreter: a path, or a name in PATH; empty needs none."""
    if not name:
        return True
    paths = (name,) if "/" in name else _in_path(name)
    return any(guest.is_file(tree, path) for path in paths)


def python_too_new(tree: Tree, agent: Software) -> str | None:
    """Return the guest's Python where this agent calls what that Python no longer has; None: it does not.

    Up to 2.2.53.1 the agent reads its network cards by array.tostring, which Python 3.9 lacks, and then cannot set the
    host name, without which it does not provision: https://github.com/Azure/WALinuxAgent/issues/2080. By its code and
    not by its version, as EL's packages of the same version are mended.
    """
    code = posixpath.join(posixpath.dirname(agent.path), "osutil/default.py")
    if not guest.is_file(tree, code) or not re.search(r"= *buff\.tostring\(\)", guest.read_text(tree, code)):
        return None
    paths = (agent.interpreter,) if "/" in agent.interpreter else _in_path(agent.interpreter)
    program = next(
        (resolved for path in paths if guest.is_file(tree, resolved := guest.resolve(tree, path))), ""
    )
    version = re.search(r"python(\d+)\.(\d+)$", program)
    if version is None or (int(version[1]), int(version[2])) < (3, 9):
        return None
    return f"{version[1]}.{version[2]}"


def _in_path(name: str) -> tuple[str, ...]:
    return tuple(posixpath.join(folder, name) for folder in _PATH)


def _candidates(program: str) -> tuple[str, ...]:
    return tuple(posixpath.join(folder, program) for folder in _PROGRAMS)


def _modules(tree: Tree, kind: _Kind) -> Iterator[str]:
    for prefix in _PREFIXES:
        for site in _SITES:
            folder = f"{prefix}/python*/{site}"
            for pattern in (f"{folder}/{kind.module}", f"{folder}/{kind.egg}/{kind.module}"):
                yield from (path for path in guest.glob(tree, pattern) if guest.is_file(tree, path))


def _interpreter(text: str) -> str:
    """Return what the first line of a script asks for; `env NAME` and `env -S NAME` give the bare name."""
    first = text.split("\n", 1)[0]
    if not first.startswith("#!"):
        return ""
    words = [word for word in first[2:].split() if not word.startswith("-")]
    if words and posixpath.basename(words[0]) == "env":
        words = [word for word in words[1:] if "=" not in word]
    return words[0] if words else ""
