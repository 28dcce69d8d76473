"""imgfix inspect: the verdicts and the drivers, as people and programs read them."""

from __future__ import annotations

import json

import pytest

from imgfix import inspection
from imgfix.disk.partition import PartitionTable
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

DRIVERS = (
    ("hv_vmbus", DriverState.BUILTIN),
    ("hv_storvsc", DriverState.MODULE),
    ("vfat", DriverState.MODULE),
    ("udf", DriverState.MODULE),
)
IMAGE = InitramfsFacts("/boot/initrd", 1, "zstd", frozenset({"hv_storvsc"}), ())
FACTS = Facts(
    Distro("debian", (), "12", "Debian [12]", "debian"),
    (Kernel("6.1.0", "/boot/vmlinuz", IMAGE, DRIVERS, True), Kernel("6.2.0", "/boot/v", None, DRIVERS, True)),
    (),
    Storage("gpt", ()),
    generations=Generations(Verdict(False, ("no boot code",)), Verdict(True, ("one", "two"))),
    disabled=(Disabled("udf", "/etc/modprobe.d/a.conf:3", "install udf /bin/true"),),
)
TABLE = PartitionTable("gpt", None, False, ())


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    inspection.show(FACTS, TABLE, as_json=False)
    text = capsys.readouterr().out
    assert "Debian [12]" in text
    assert "gpt, boots by UEFI" in text
    assert "Generation 1: does not boot: no boot code" in text
    assert "Generation 2: boots: one; two" in text
    assert "/etc/modprobe.d/a.conf:3: `install udf /bin/true` keeps udf from loading" in text
    rows = {
        cells[0]: cells[1:]
        for line in text.splitlines()
        if (cells := [c.strip() for c in line.split("│")[1:-1]])
    }
    assert rows["initramfs"] == ["zstd, 1 modules", "none"]
    assert rows["hv_vmbus"] == ["built in", "built in"]
    assert rows["hv_storvsc"] == ["initramfs", "module"]
    assert rows["udf"] == ["module, disabled", "module, disabled"]
    assert rows["mana"] == ["missing", "missing"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    inspection.show(FACTS, TABLE, as_json=True)
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert facts["generations"] == {
        "gen1": {"possible": False, "reasons": ["no boot code"]},
        "gen2": {"possible": True, "reasons": ["one", "two"]},
    }
    assert facts["disabled"] == [
        {"driver": "udf", "place": "/etc/modprobe.d/a.conf:3", "directive": "install udf /bin/true"}
    ]
    assert ["udf", "module"] in facts["kernels"][0]["drivers"]
