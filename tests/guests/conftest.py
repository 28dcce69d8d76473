"""Fixtures of the real guests: each disk is built and applied once per run, and its result opened once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guests import result
from tests.guests.listing import State, listing
from tests.guests.workshop import USER, Applied, applied, made


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run share; open to the unprivileged user of some applies."""
    own = tmp_path_factory.getbasetemp()
    base = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = base / "guests"
    folder.mkdir(exist_ok=True)
    for path in (folder, own, base, base.parent):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o055)  # the last may be /tmp, with --basetemp
    return folder


@pytest.fixture(scope="session")
def debian12_disk(shared: Path) -> Path:
    """The Debian disk as built: nothing has been applied."""
    return made(shared, "debian12")


@pytest.fixture(scope="session")
def el9_disk(shared: Path) -> Path:
    """The EL9-like disk as built: nothing has been applied."""
    return made(shared, "el9", user=USER)


@pytest.fixture(scope="session")
def debian12(shared: Path) -> Applied:
    """Debian 12 with initramfs-tools, two kernels, swap partition and file; its packages are fetched."""
    return applied(shared, "debian12", "debian.yaml", "initramfs.method=rebuild")


@pytest.fixture(scope="session")
def el9(shared: Path) -> Applied:
    """An EL9-like guest with dracut, BLS, LVM and an rpm database; applied by an ordinary user."""
    reports = ("--report", "el9.json", "--report", "el9.html")
    return applied(shared, "el9", "rhel.yaml", "initramfs.method=rebuild", user=USER, more=reports)


@pytest.fixture(scope="module")
def debian12_opened(debian12: Applied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The Debian result in an appliance, as a guestfs handle."""
    with result.opened(
        debian12.vhd, tmp_path_factory.mktemp("opened"), mounts=result.MOUNTS["debian12"]
    ) as handle:
        yield handle


@pytest.fixture(scope="session")
def el9_state(el9: Applied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """The EL9-like result in an appliance, listed before any test touches it."""
    folder = tmp_path_factory.mktemp("opened")
    with result.opened(el9.vhd, folder, mounts=result.MOUNTS["el9"]) as handle:
        yield State(handle, listing(handle, folder))


@pytest.fixture(scope="session")
def el9_opened(el9_state: State) -> Any:
    """The EL9-like result in an appliance, as a guestfs handle."""
    return el9_state.handle
