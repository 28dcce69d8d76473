"""What a hypervisor exports, as it is: a real disk inside an OVA, read where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.disk.images import image
from tests.guests.workshop import imgfix, made, sha256
from tests.schema import require_fit

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("debian13")]


def test_inspect_reads_the_disk_of_an_ova_where_it_lies(shared: Path, tmp_path: Path) -> None:
    path = image("ova", made(shared, "debian13"), tmp_path / "machine.ova")
    before = sha256(path)
    run = imgfix("inspect", "--json", path, folder=tmp_path / "run")
    assert run.status == 0, run.stderr
    told = json.loads(run.stdout)
    require_fit("inspection", told)
    facts = told["facts"]
    assert facts["distro"]["id"] == "debian"
    assert facts["distro"]["version"] == "13"
    assert "machine.ova: taken for an OVA" in run.stderr
    assert "as the manifest machine.mf says" in run.stderr
    assert run.launches == 1
    # Nothing was unpacked or converted, and the export is as it was.
    assert sorted(one.name for one in tmp_path.iterdir() if one.suffix == ".raw") == []
    assert sha256(path) == before
