"""check, dry run and verify on a real disk: said before is what is done, and what is done is ready."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from imgfix import published
from tests.guests import result
from tests.guests.listing import State, compare, listing, planned
from tests.guests.workshop import USER, Applied, imgfix, sha256

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("el9")]

#: As the fixture el9 was applied.
_SETTINGS = ("--set", "initramfs.method=rebuild")


@pytest.fixture(scope="module")
def before(el9: Applied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """The source."""
    folder = tmp_path_factory.mktemp("before")
    with result.opened(el9.source, folder, footer=0, mounts=result.MOUNTS["el9"]) as handle:
        yield State(handle, listing(handle, folder))


def test_what_check_plans_is_what_apply_changes(
    el9: Applied, before: State, el9_state: State, tmp_path: Path
) -> None:
    mtime = el9.source.stat().st_mtime_ns
    run = imgfix("check", "rhel", el9.source, "--json", *_SETTINGS, folder=tmp_path, user=USER)
    assert run.status == 6, run.stderr
    assert run.launches == 1
    verdict = json.loads(run.stdout)
    jsonschema.Draft202012Validator(json.loads(published.schema("readiness"))).validate(verdict)
    assert (verdict["ready"], verdict["fixable"]) == (False, True)
    assert [v["boots"] for v in verdict["generations"]] == [True, False]
    assert compare(before.files, el9_state.files, planned(verdict)) == (set(), set())
    deleted = [f["target"] for r in verdict["requirements"] for f in r["findings"] if f["action"] == "delete"]
    assert deleted == ["/dev/rhel/swap"]
    assert set(before.handle.lvs()) - set(el9_state.handle.lvs()) == set(deleted)
    assert (sha256(el9.source), el9.source.stat().st_mtime_ns) == (el9.sha256, mtime)


def test_the_diff_of_a_dry_run_makes_the_files_that_apply_makes(
    el9: Applied, before: State, el9_state: State, tmp_path: Path
) -> None:
    mtime = el9.source.stat().st_mtime_ns
    run = imgfix("apply", "rhel", el9.source, "--dry-run", "--diff", *_SETTINGS, folder=tmp_path, user=USER)
    assert run.status == 0, run.stderr
    assert sorted(p.name for p in el9.source.parent.glob("*.partial")) == []
    paths = re.findall(r"^diff --git a(/\S+) b(/\S+)$", run.stdout, re.MULTILINE)
    assert len(paths) > 15
    tree = tmp_path / "tree"
    tree.mkdir()
    for path, _ in paths:
        if before.handle.is_file(path):
            local = Path(f"{tree}{path}")
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(before.handle.read_file(path))
            local.chmod(before.handle.statns(path)["st_mode"] & 0o777)
    argv = ("patch", "-p1", "--batch", "--fuzz=0", f"--directory={tree}")
    done = subprocess.run(argv, input=run.stdout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for path, _ in paths:
        local = Path(f"{tree}{path}")
        if el9_state.handle.is_symlink(path):
            assert str(local.readlink()) == el9_state.handle.readlink(path), path
            continue
        assert local.read_bytes() == el9_state.handle.read_file(path), path
        assert local.stat().st_mode & 0o777 == el9_state.handle.statns(path)["st_mode"] & 0o777, path
    assert (sha256(el9.source), el9.source.stat().st_mtime_ns) == (el9.sha256, mtime)


def test_the_vhd_is_verified_and_one_that_is_cut_is_not(el9: Applied, tmp_path: Path) -> None:
    run = imgfix("verify", el9.vhd, "--against", "rhel", "--json", *_SETTINGS, folder=tmp_path)
    assert run.status == 0, run.stdout + run.stderr
    verdict = json.loads(run.stdout)
    assert verdict["ready"]
    assert {r["status"] for r in verdict["requirements"]} <= {"ready", "advice"}
    cut = tmp_path / "cut.vhd"
    subprocess.run(("cp", "--sparse=always", el9.vhd, cut), check=True)
    with cut.open("r+b") as stream:
        stream.truncate(el9.vhd.stat().st_size - 1024)
    run = imgfix("verify", cut, folder=tmp_path)
    cut.unlink()
    assert run.status == 6
    assert "VHD footer" in run.stderr
    assert run.launches == 0
