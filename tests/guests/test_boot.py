"""The results boot in QEMU to a login on ttyS0, with the wanted command line and no swap.

Each boot is a group of its own: a worker that has time takes it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.boot import Boot
from tests.guests import checks
from tests.guests.workshop import USER, Applied, imgfix, sha256
from tests.rehearsal import endings
from tests.schema import require_fit

pytestmark = pytest.mark.appliance

#: GRUB's own menu on ttyS0; SeaBIOS writes nothing there by itself.
MENU = b"GNU GRUB"
DEBIAN_WANTED = ["console=ttyS0", "earlyprintk=ttyS0", "net.ifnames=0"]
DEBIAN_UNWANTED = ["quiet", "splash", "rhgb", "rootdelay=300"]
EL9_WANTED = ["rootdelay=300", "console=ttyS0", "earlyprintk=ttyS0", "net.ifnames=0", "rd.lvm.lv=rhel/root"]
EL9_UNWANTED = ["quiet", "rhgb", "crashkernel=auto", "rd.lvm.lv=rhel/swap"]


@pytest.mark.xdist_group("debian12-bios")
def test_debian12_boots_by_bios(debian12: Applied) -> None:
    with Boot(debian12.vhd, "bios") as vm:
        failed = checks.boots(vm, DEBIAN_WANTED, DEBIAN_UNWANTED)
        assert MENU in vm.transcript
        print(f"systemctl --failed: {failed}")
        vm.poweroff()


@pytest.mark.xdist_group("debian12-uefi")
def test_debian12_boots_by_uefi_without_boot_entries(debian12: Applied, shared: Path) -> None:
    """A whole rehearsal, by an ordinary user; nothing is left of it, and the VHD is what it was."""
    folder = shared / "rehearsal"
    report = folder / "rehearsal.json"
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    temporary.chmod(0o777)
    before = sha256(debian12.vhd)
    run = imgfix(
        *("rehearse", debian12.vhd, "--generation", "2", "--agent", "cloud-init", "--report", report),
        folder=folder,
        user=USER,
        environment={"TMPDIR": str(temporary)},
    )
    assert sha256(debian12.vhd) == before
    assert list(temporary.iterdir()) == []
    assert not endings.processes(temporary)
    print(run.stdout)
    assert run.status == 0, run.stderr + run.stdout
    found = json.loads(report.read_text())
    require_fit("rehearsal", found)
    (attempt,) = found["attempts"]
    assert found["passed"]
    assert attempt["reached"] == "SSH"
    seen = [event["stage"] for event in attempt["events"] if event["stage"]]
    assert {"boot loader", "kernel", "init", "network", "datasource", "Ready", "SSH"} <= set(seen)
    assert "BdsDxe: starting Boot" in attempt["serial_log"]
    answers = {answer["name"]: answer for answer in attempt["answers"]}
    command_line = answers["kernel"]["detail"].split()
    assert set(DEBIAN_WANTED) <= set(command_line)
    assert not set(DEBIAN_UNWANTED) & set(command_line)
    for name in (
        "datasource",
        "cloud-init",
        "agent",
        "resource disk",
        "swap",
        "host keys",
        "root size",
        "serial console",
        "shutdown",
    ):
        assert answers[name]["ok"], answers[name]


@pytest.mark.xdist_group("el9-bios")
def test_el9_boots_by_bios(el9: Applied) -> None:
    with Boot(el9.vhd, "bios") as vm:
        failed = checks.boots(vm, EL9_WANTED, EL9_UNWANTED)
        assert MENU in vm.transcript
        print(f"systemctl --failed: {failed}")
        vm.poweroff()
