"""Packages from a local folder, on real guests without a network (R17); packages that the profile purges (R9)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgfix import pipeline, profile_load
from imgfix.errors import GuestError
from imgfix.interrupt import Interrupts
from imgfix.progress import Progress
from tests.guests import result
from tests.guests.local import dpkg_status, fetched
from tests.guests.result import shell
from tests.guests.test_refused import OS_RELEASE, disk_of
from tests.guests.workshop import Run, imgfix
from tests.packaging import rpms
from tests.packaging.rpms import Rpm

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("packages")]

WANTED = ("waagent", "cloud-init", "cloud-guest-utils", "gdisk", "hyperv-daemons", "openssh-server")

EL = """\
packages: {purge: ["gdi?k"], add: [test-agent >= 2]}
mode: specialized
swap: {remove: false}
services: {serial_console: null}
"""

#: gdisk goes; test-helper needs the new library, whose old version is installed first.
RPMS = (
    Rpm("test-agent", "3-1", ("Requires: python3 >= 3.12",)),
    Rpm(
        "test-agent",
        "2-1",
        ("Requires: /usr/bin/python3", "Requires: test-lib >= 2", "Requires: (test-helper if python3)"),
        ("/usr/sbin/test-agent", "/etc/test-agent.conf"),
        scripts="%post -n test-agent\nls /sys/class/net > /etc/test-agent.post",
    ),
    Rpm("test-helper", "1-1", ("Requires: test-lib > 1",), ("/usr/bin/test-helper",)),
    Rpm("test-lib", "2-1", (), ("/usr/share/test-lib",)),
    Rpm("test-lib", "1-1"),
    Rpm("test-lib", "9-1", architecture="aarch64"),
    Rpm("test-unneeded", "1-1"),
)


def _debian_profile() -> str:
    """Return what the profile debian says of packages and services, and nothing else.

    The rest is left as it is: rebuilding an initramfs in an emulated appliance takes long.
    """
    whole = profile_load.load("debian").model_dump(mode="json")
    names = [
        "walinuxagent | waagent (>= 2.2.53.1)" if n == "waagent" else n for n in whole["packages"]["add"]
    ]
    assert len({*names} & {*WANTED}) == len(WANTED) - 1
    parts = {"packages": {"add": names, "purge": ["nano"]}, "services": whole["services"]}
    # Two programs play those of another cloud: nothing needs the first, everything the second.
    foreign = {"old tools": {"packages": ["less"], "why": "-"}, "needed": {"packages": ["libc6"], "why": "-"}}
    rest = {"swap": {"remove": False}, "fstab": {"by_uuid": False}, "platforms": {"products": foreign}}
    return yaml.safe_dump({**parts, **rest})


@dataclass(frozen=True, slots=True)
class _Done:
    run: Run
    vhd: Path


def _applied(folder: Path, disk: Path, profile: str, packages: Path) -> _Done:
    (folder / "mine.yaml").write_text(profile)
    vhd = folder / "out.vhd"
    words = ("apply", folder / "mine.yaml", disk, "-o", vhd, "--no-network", "--packages", packages)
    return _Done(imgfix(*words, folder=folder / "run"), vhd)


@pytest.fixture(scope="module")
def debian(debian12_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> _Done:
    packages = fetched(dpkg_status(debian12_disk, 3), "bookworm", WANTED)
    return _applied(tmp_path_factory.mktemp("local"), debian12_disk, _debian_profile(), packages)


@pytest.fixture(scope="module")
def debian_opened(debian: _Done, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    assert debian.run.status == 0, debian.run.stderr
    with result.opened(
        debian.vhd, tmp_path_factory.mktemp("opened"), mounts=result.MOUNTS["debian12"]
    ) as handle:
        yield handle


def test_debian_gets_its_agents_from_a_folder(debian: _Done, debian_opened: Any) -> None:
    assert debian.run.launches == 1
    assert "from the folder, " in debian.run.stderr
    status = shell(debian_opened, "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'")
    assert {*WANTED} <= {line.split()[0] for line in status.splitlines() if line.endswith(" installed")}
    told = shell(debian_opened, "dpkg --audit; dpkg --verify cloud-init waagent openssh-server").split("\n")
    assert [line for line in told if line and " c /etc/" not in line] == [], (
        "but for configuration, all is as packed"
    )
    for unit in (
        "ssh",
        "walinuxagent",
        "cloud-init-local",
        "cloud-final",
        "hv-kvp-daemon",
        "serial-getty@ttyS0",
    ):
        assert shell(debian_opened, f"systemctl is-enabled {unit}.service").strip() == "enabled", unit


def test_nothing_of_the_folder_and_of_the_work_is_left(debian_opened: Any) -> None:
    assert not [name for name in debian_opened.ls("/") if name.startswith("imgfix")]
    assert not debian_opened.exists("/usr/sbin/policy-rc.d")
    assert not debian_opened.glob_expand("/var/cache/apt/archives/*.deb")


def test_purged_packages_are_gone(debian_opened: Any) -> None:
    assert not debian_opened.exists("/usr/bin/nano")
    assert not debian_opened.exists("/etc/nanorc")
    told = shell(debian_opened, "dpkg-query -W -f '${db:Status-Status}' nano 2>&1 || true")
    assert "not-installed" in told or "no packages found" in told, told


def test_packages_of_other_platforms_are_gone_unless_something_needs_them(
    debian: _Done, debian_opened: Any
) -> None:
    assert not debian_opened.exists("/usr/bin/less")
    assert debian_opened.glob_expand("/usr/lib/*/libc.so.6")
    assert "needed (libc6): disabled, not removed; -" in " ".join(debian.run.stdout.split())


def test_rpms_are_installed_from_a_folder(el9_disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rpms"
    for number, package in enumerate(RPMS):
        (folder / str(number)).mkdir(parents=True)
        rpms.build(folder / str(number), [package])
    done = _applied(tmp_path, el9_disk, EL, folder)
    assert done.run.status == 0, done.run.stderr
    assert done.run.launches == 1
    assert "removing gdisk-1.0.7-5.el9" in done.run.stderr
    assert "installing test-agent from the folder, 3 packages" in done.run.stderr
    with result.opened(done.vhd, tmp_path, mounts=result.MOUNTS["el9"]) as handle:
        names = shell(handle, "rpm -qa --qf '%{name}-%{version}\\n' 'test-*' gdisk")
        assert sorted(names.split()) == ["test-agent-2", "test-helper-1", "test-lib-2"]
        assert handle.cat("/usr/sbin/test-agent").strip() == "/usr/sbin/test-agent"
        assert handle.cat("/etc/test-agent.post").split() == ["lo"]
        assert not handle.exists("/usr/sbin/sgdisk"), "gdisk's file"
        assert not [name for name in handle.ls("/") if name.startswith("imgfix")]


class _Watching(Progress):
    """Keeps the work copy, which vanishes with the error, as it was when the guest had been read."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.kept = folder / "kept"
        self.digest = ""

    def end(self, name: str) -> None:
        """The guest has been read, and what follows decides."""
        if name == "inspect":
            (partial,) = self._folder.glob(".*.partial")
            os.link(partial, self.kept)
            self.digest = _digest(self.kept)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_missing_dependency_is_named_before_anything_is_written(
    debian12_disk: Path, tmp_path: Path
) -> None:
    status = dpkg_status(debian12_disk, 3)
    whole = fetched(status, "bookworm", WANTED)
    part = tmp_path / "debs"
    part.mkdir()
    for path in whole.iterdir():
        if not path.name.startswith(("libpopt0_", "locales_", "hyperv-daemons_")):
            (part / path.name).symlink_to(path)
    disk = tmp_path / "d.raw"
    tree = {"etc/os-release": OS_RELEASE.format(name="bare"), "etc/fstab": "", "usr/bin/apt-get": ""}
    disk_of(disk, {**tree, "var/lib/dpkg/status": status})
    watching = _Watching(tmp_path)
    request = pipeline.Request(profile_load.load("debian"), disk, network=False, packages=part)
    with pytest.raises(GuestError) as caught:
        pipeline.run(request, watching, Interrupts())
    message = caught.value.message
    assert f"the packages in {part} do not do, nothing was changed" in message
    for line in (
        "gdisk 1.0.9-2.1 needs libpopt0 (>= 1.14)",
        "needs locales",
        "the profile needs hyperv-daemons",
    ):
        assert line in message
    assert _digest(watching.kept) == watching.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.raw", "debs", "kept"]
