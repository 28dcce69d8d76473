"""The commands of an installation; tests/guests has the real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from imgfix import installer
from imgfix.change import InstallPackages, RemovePackages
from imgfix.errors import ApplyError
from imgfix.guest import CommandResult, Guest
from imgfix.tree import Entry, Kind

POLICY = "/usr/sbin/policy-rc.d"


class Recorder:
    """Stands for a guest: answers commands by their last word, keeps them all."""

    def __init__(self, results: dict[str, CommandResult] | None = None, *, policy: bool = False) -> None:
        self.commands: list[str] = []
        self._results = results or {}
        self.files = {POLICY} if policy else set[str]()
        self.held: list[bool] = []

    def run(self, argv: tuple[str, ...]) -> CommandResult:
        self.commands.append(" ".join(argv) if argv[0] != "/bin/sh" else f"apt-get {' '.join(argv[4:])}")
        self.held.append(POLICY in self.files)
        return self._results.get(argv[-1], CommandResult(0, ""))

    def lstat(self, path: str) -> Entry | None:
        return Entry(Kind.FILE) if path in self.files else None

    def write(self, path: str, content: bytes, mode: int) -> None:
        assert (content, mode) == (b"#!/bin/sh\nexit 101\n", 0o755)
        self.files.add(path)

    def remove(self, path: str) -> None:
        self.files.remove(path)

    @contextmanager
    def lent(self, files: Sequence[Path]) -> Iterator[tuple[str, ...]]:
        yield tuple(f"/lent/{file.name}" for file in files)


def _install(decision: InstallPackages, guest: Recorder, folder: dict[str, Path] | None = None) -> list[str]:
    said: list[str] = []
    installer.install(decision, cast(Guest, guest), folder or {}, said.append)
    return said


@pytest.mark.parametrize(
    ("manager", "commands"),
    [
        (
            "apt",
            [
                "apt-get -q update",
                "apt-cache show a",
                "apt-cache show b",
                "apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold --no-remove install b gdisk",
            ],
        ),
        (
            "dnf",
            ["dnf -q list a", "dnf -q list b", "dnf -y --setopt=install_weak_deps=False install b gdisk"],
        ),
        ("tdnf", ["tdnf -q list a", "tdnf -q list b", "tdnf -y install b gdisk"]),
        ("yum", ["yum -q list a", "yum -q list b", "yum -y install b gdisk"]),
        (
            "zypper",
            [
                "zypper --non-interactive refresh",
                "zypper --non-interactive search --match-exact a",
                "zypper --non-interactive search --match-exact b",
                "zypper --non-interactive install --no-recommends b gdisk",
            ],
        ),
    ],
)
def test_of_alternatives_the_first_that_the_repositories_have(manager: str, commands: list[str]) -> None:
    guest = Recorder({"a": CommandResult(100, "none\n")})
    _install(InstallPackages(manager, ("a | b | c", "gdisk"), ""), guest)
    assert guest.commands == commands


def test_where_the_repositories_have_none_the_first_is_in_the_error() -> None:
    no = CommandResult(100, "unable to locate\n")
    guest = Recorder({"a": no, "b": no})
    with pytest.raises(
        ApplyError, match=r"install a failed in the guest with status 100:\nunable to locate"
    ) as caught:
        _install(InstallPackages("apt", ("a | b",), ""), guest)
    assert caught.value.hint is not None
    assert "--packages" in caught.value.hint


def test_a_removal_that_apt_was_not_allowed_is_explained() -> None:
    told = "E: Packages need to be removed but remove is disabled.\n"
    with pytest.raises(ApplyError, match="remove is disabled") as caught:
        _install(InstallPackages("apt", ("a",), ""), Recorder({"a": CommandResult(100, told)}))
    assert caught.value.hint is not None
    assert "packages.purge" in caught.value.hint


def test_files_go_in_one_command_and_kernels_in_one_of_their_own() -> None:
    folder = {name: Path("/host", name) for name in ("x/a.rpm", "b.rpm", "kernel.rpm")}
    guest = Recorder()
    said = _install(InstallPackages("rpm", ("a",), "", ("x/a.rpm", "b.rpm"), ("kernel.rpm",)), guest, folder)
    assert guest.commands == ["rpm -U /lent/a.rpm /lent/b.rpm", "rpm -i /lent/kernel.rpm"]
    assert said == ["installing a from the folder, 3 packages with all they need"]
    guest = Recorder()
    _install(InstallPackages("apt", ("a",), "", ("b.rpm",)), guest, folder)
    _install(InstallPackages("dpkg", ("a",), "", ("b.rpm",)), guest, folder)
    assert guest.commands == ["apt-get /lent/b.rpm", "dpkg --force-confold -i /lent/b.rpm"]


@pytest.mark.parametrize("policy", [True, False])
def test_no_service_starts_meanwhile_and_the_guests_own_policy_stays(policy: bool) -> None:
    guest = Recorder(policy=policy)
    installer.remove(RemovePackages("dpkg", ("nano", "vim"), ""), cast(Guest, guest), lambda _: None)
    installer.remove(RemovePackages("rpm", ("a-1-1.noarch",), ""), cast(Guest, guest), lambda _: None)
    assert guest.commands == ["dpkg --purge nano vim", "rpm -e a-1-1.noarch"]
    assert guest.held == [True, True]
    assert (POLICY in guest.files) is policy
