"""Installing and removing packages with the guest's own package manager. Acts, as apply does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from imgfix.change import InstallPackages, RemovePackages
from imgfix.errors import ApplyError, CommandError, FailedCommand
from imgfix.guest import Guest

_POLICY = "/usr/sbin/policy-rc.d"

_APT = ("apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold")

#: Commands of each package manager; the package names follow the last one. apt would remove what conflicts.
_INSTALL: dict[str, tuple[tuple[str, ...], ...]] = {
    "apt": (("apt-get", "-q", "update"), (*_APT, "--no-remove", "install")),
    "dnf": (("dnf", "-y", "--setopt=install_weak_deps=False", "install"),),
    "yum": (("yum", "-y", "install"),),
    "tdnf": (("tdnf", "-y", "install"),),
    "zypper": (
        ("zypper", "--non-interactive", "refresh"),
        ("zypper", "--non-interactive", "install", "--no-recommends"),
    ),
}

#: Asks the repositories for one name: status 0 where they have it. Run after the first of _INSTALL's commands.
_KNOWN: dict[str, tuple[str, ...]] = {
    "apt": ("apt-cache", "show"),
    "dnf": ("dnf", "-q", "list"),
    "yum": ("yum", "-q", "list"),
    "tdnf": ("tdnf", "-q", "list"),
    "zypper": ("zypper", "--non-interactive", "search", "--match-exact"),
}

#: apt needs a folder for its lists even where it shall look at none: so it knows only the files that it is given.
#: With --no-download it takes their names for those of its own cache ("Pathname to install is not absolute").
_APT_FILES = (
    "mkdir -p /run/imgfix-apt/lists/partial && exec apt-get -o Dir::State::Lists=/run/imgfix-apt/lists "
    "-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "
    '-q -y --no-install-recommends --no-remove -o Dpkg::Options::=--force-confold install "$@"'
)

#: Installs files that lie in the guest; their paths follow. rpm looks at signatures as the guest's own settings say.
_LOCAL: dict[str, tuple[str, ...]] = {
    "apt": ("/bin/sh", "-c", _APT_FILES, "sh"),
    "dpkg": ("dpkg", "--force-confold", "-i"),
    "rpm": ("rpm", "-U"),
}
_LOCAL_PARALLEL = ("rpm", "-i")

_REMOVE: dict[str, tuple[str, ...]] = {"dpkg": ("dpkg", "--purge"), "rpm": ("rpm", "-e")}

_NETWORK_HINT = (
    "can this host reach the guest's repositories? Install the packages in the guest, give them in a folder with "
    "--packages, or go on without them: --set packages.missing=warn"
)
_REMOVED_HINT = (
    "the output names what would have to go; agree with --set packages.purge='[NAME]', or go on without the "
    "packages: --set packages.missing=warn"
)
_LOCAL_HINT = "install the packages in the guest, or go on without them: --set packages.missing=warn"


def refuse_offline(installs: Sequence[InstallPackages]) -> None:
    """Raise ApplyError where packages are to be fetched and the network is forbidden."""
    names = ", ".join(name for decision in installs for name in decision.packages)
    if names:
        raise ApplyError(
            f"packages are missing in the guest and --no-network forbids fetching them: {names}",
            hint="install them in the guest, give them in a folder with --packages, allow the network, or go on "
            "without: --set packages.missing=warn",
        )


def remove(decision: RemovePackages, guest: Guest, say: Callable[[str], None]) -> None:
    """Remove packages with their configuration. Raises ApplyError with the tool's whole output."""
    say(f"removing {', '.join(decision.packages)}")
    argv = (*_REMOVE[decision.tool], *decision.packages)
    with _services_held(guest):
        _Log(guest, "packages cannot be removed:").run(
            argv, "take them out of packages.purge; another platform's: --set platforms.action=disable"
        )


def install(
    decision: InstallPackages, guest: Guest, folder: Mapping[str, Path], say: Callable[[str], None]
) -> None:
    """Install packages from `folder` (name to file), where the decision names files; else from the repositories.

    The latter needs the appliance's network on. Raises ApplyError with the manager's whole output.
    """
    log = _Log(guest, "packages cannot be installed:")
    with _services_held(guest):
        if decision.files or decision.parallel:
            count = len(decision.files) + len(decision.parallel)
            say(
                f"installing {', '.join(decision.packages)} from the folder, {count} packages with all they need"
            )
            _install_files(decision, guest, folder, log)
        else:
            say(f"installing {', '.join(decision.packages)} from the guest's repositories")
            _install_named(decision, log)


def _install_named(decision: InstallPackages, log: _Log) -> None:
    *before, last = _INSTALL[decision.manager]
    for argv in before:
        log.run(argv, _NETWORK_HINT)
    names = tuple(_known(decision.manager, name.split(" | "), log) for name in decision.packages)
    log.run((*last, *names), _NETWORK_HINT)


def _known(manager: str, names: Sequence[str], log: _Log) -> str:
    """Return the first of the names that the repositories have; the first of all where they have none."""
    if len(names) == 1:
        return names[0]
    return next((name for name in names if log.succeeds((*_KNOWN[manager], name))), names[0])


def _install_files(decision: InstallPackages, guest: Guest, folder: Mapping[str, Path], log: _Log) -> None:
    names = (*decision.files, *decision.parallel)
    with guest.lent([folder[name] for name in names]) as paths:
        path_of = dict(zip(names, paths, strict=True))
        for command, part in (
            (_LOCAL[decision.manager], decision.files),
            (_LOCAL_PARALLEL, decision.parallel),
        ):
            if part:
                log.run((*command, *(path_of[name] for name in part)), _LOCAL_HINT)


class _Log:
    """Runs the commands of one installation and keeps what all of them print."""

    def __init__(self, guest: Guest, failure: str) -> None:
        self._guest = guest
        self._failure = failure
        self._output = ""

    def run(self, argv: tuple[str, ...], hint: str) -> None:
        """Run a command; raises ApplyError, with all output so far, where it fails."""
        result = self._guest.run(argv)
        self._output += result.output
        if result.status:
            shown = " ".join(argv) if argv[0] != "/bin/sh" else f"apt-get install {' '.join(argv[4:])}"
            raise CommandError(
                f"{self._failure} {shown} failed in the guest with status {result.status}:\n"
                f"{self._output.strip()}",
                command=FailedCommand(argv, result.status, result.output),
                hint=_REMOVED_HINT if "remove is disabled" in result.output else hint,
            )

    def succeeds(self, argv: tuple[str, ...]) -> bool:
        """Run a command that asks; its output is kept as well."""
        result = self._guest.run(argv)
        self._output += result.output
        return result.status == 0


@contextmanager
def _services_held(guest: Guest) -> Iterator[None]:
    """Let no service start meanwhile: maintainer scripts start them unless policy-rc.d forbids it (invoke-rc.d(8)).

    In a chroot a started daemon would keep the file system busy and write to the image.
    """
    forbid = guest.lstat(_POLICY) is None
    if forbid:
        guest.write(_POLICY, b"#!/bin/sh\nexit 101\n", 0o755)
    yield  # where it fails, the image is thrown away
    if forbid:
        guest.remove(_POLICY)
