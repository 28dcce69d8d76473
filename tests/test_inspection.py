"""imgfix inspect: the verdicts and the drivers, as people and programs read them."""

from __future__ import annotations

import json
import re

import pytest

from imgfix import inspection
from imgfix.disk.partition import PartitionTable
from imgfix.facts.bootloader import Bootloader, GrubConfig
from imgfix.facts.model import (
    Disabled,
    Distro,
    DriverState,
    Facts,
    Generations,
    InitramfsFacts,
    Kernel,
    Storage,
    Verdict,
)
from tests.schema import require_fit

DRIVERS = (
    ("hv_vmbus", DriverState.BUILTIN),
    ("hv_storvsc", DriverState.MODULE),
    ("vfat", DriverState.MODULE),
    ("udf", DriverState.MODULE),
)
IMAGE = InitramfsFacts("/boot/initrd", 1, "zstd", frozenset({"hv_storvsc"}), ())
FACTS = Facts(
    Distro("debian", ("\udcff",), "12", "Debian [12]", "debian"),
    (Kernel("6.1.0", "/boot/vmlinuz", IMAGE, DRIVERS, True), Kernel("6.2.0", "/boot/v", None, DRIVERS, True)),
    (),
    Storage("gpt", ()),
    generations=Generations(Verdict(False, ("no boot code",)), Verdict(True, ("one", "two"))),
    disabled=(Disabled("udf", "/etc/modprobe.d/a.conf:3", "install udf /bin/true"),),
)
LOADER = Bootloader(
    grub2=(
        GrubConfig("/boot/grub/grub.cfg", False, None),
        GrubConfig("/boot/efi/EFI/debian/grub.cfg", True, "/boot/grub/grub.cfg"),
    ),
    generator="/usr/sbin/grub-mkconfig",
    legacy=(),
    entries=(),
    unified=(),
    systemd_boot=False,
    others=(("LILO", "/etc/[bold]lilo.conf"),),
)
FOUND = inspection.Inspected(FACTS, PartitionTable("gpt", None, False, ()), LOADER)


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    inspection.show(FOUND, as_json=False)
    text = capsys.readouterr().out
    assert "Debian [12]" in text
    assert "gpt, boots by UEFI" in text
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    assert ["Generation 1", "does not boot", "no boot code"] in rows
    assert ["Generation 2", "boots", "one; two"] in rows
    stub = "/boot/efi/EFI/debian/grub.cfg (leads to /boot/grub/grub.cfg)"
    assert ["boot loader", "GRUB 2", "/boot/grub/grub.cfg"] in rows
    assert [stub] in rows
    assert ["made by", "/usr/sbin/grub-mkconfig"] in rows
    assert ["LILO", "/etc/[bold]lilo.conf"] in rows
    assert "/etc/modprobe.d/a.conf:3: `install udf /bin/true` keeps udf from loading" in text
    assert ["initramfs", "zstd, 1 modules", "none"] in rows
    assert ["hv_vmbus", "built in", "built in"] in rows
    assert ["hv_storvsc", "initramfs", "module"] in rows
    assert ["udf", "module, disabled", "module, disabled"] in rows
    assert ["mana", "missing", "missing"] in rows


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    inspection.show(FOUND, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    require_fit("inspection", printed)
    assert printed["facts"]["distro"]["id_like"] == ["\\xff"]
    assert printed["boot_loader"]["grub2"][0]["path"] == "/boot/grub/grub.cfg"
    facts = printed["facts"]
    assert facts["generations"] == {
        "gen1": {"possible": False, "reasons": ["no boot code"]},
        "gen2": {"possible": True, "reasons": ["one", "two"]},
    }
    assert facts["disabled"] == [
        {"driver": "udf", "place": "/etc/modprobe.d/a.conf:3", "directive": "install udf /bin/true"}
    ]
    assert ["udf", "module"] in facts["kernels"][0]["drivers"]
