"""What the appliance's kernel says of its disk becomes an error that names the host's trouble; see test_crash.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from imgfix.appliance import Appliance
from imgfix.errors import ApplyError, HostError
from imgfix.volumes import ioerrors

EIO = "[    4.1] I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2\n"
ENOSPC = (
    "[    4.1] critical space allocation error, dev sda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1\n"
)


@dataclass
class Kernel:
    """An appliance whose kernel has said `said`."""

    said: str
    running: bool = True

    def shell(self, script: str) -> tuple[int, str]:
        assert "dmesg" in script
        return 0, self.said

    def alive(self) -> bool:
        return self.running


def appliance(said: str, *, running: bool = True) -> Appliance:
    return cast("Appliance", Kernel(said, running))


def test_a_disk_that_took_everything(tmp_path: Path) -> None:
    ioerrors.require_none(appliance(""), tmp_path)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (EIO, r"the host could not read or write all of the disk's file in .*; .*\n.*dev sda, sector 2048"),
        (ENOSPC, r"no space for all of the guest's changes in .*: .* free, 64 MiB \(67108864 bytes\) needed"),
    ],
)
def test_the_hosts_trouble_is_told_instead_of_the_guests(said: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=message):
        ioerrors.require_none(appliance(said), tmp_path)
    with pytest.raises(HostError, match=message), ioerrors.explaining(appliance(said), tmp_path):
        raise ApplyError("/etc/fstab cannot be written: Input/output error")


@pytest.mark.parametrize("kernel", [appliance(""), appliance(EIO, running=False)])
def test_other_errors_stay_what_they_are(kernel: Appliance, tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match="no such user"), ioerrors.explaining(kernel, tmp_path):
        raise ApplyError("no such user")
