"""The folder of --packages: what is read, and what is refused before a disk is touched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imgfix.errors import UsageError
from imgfix.package_folder import read
from tests.packaging import debs, rpms
from tests.packaging.rpms import Rpm

CONTROL = "Package: a\nVersion: 1\nArchitecture: all"


def test_packages_of_both_kinds_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "x/y").mkdir(parents=True)
    deb = debs.build(tmp_path / "x", CONTROL)
    shutil.move(deb, tmp_path / "x/y" / deb.name)
    (rpm,) = rpms.build(tmp_path / "x", [Rpm("b")])
    (tmp_path / "link.rpm").symlink_to(rpm)
    (tmp_path / "notes.txt").write_text("no package\n")
    (tmp_path / "folder.deb").mkdir()
    found = read(tmp_path)
    names = {p.file: p.name for p in found.offer.packages}
    assert names == {"link.rpm": "b", "x/rpms/noarch/b-1-1.noarch.rpm": "b", "x/y/a_1_all.deb": "a"}
    assert found.paths["x/y/a_1_all.deb"] == tmp_path / "x/y/a_1_all.deb"
    assert found.offer.where == str(tmp_path)


def test_what_is_no_folder_of_packages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("missing", "file"):
        with pytest.raises(UsageError, match="there is no such folder, needed for packages"):
            read(tmp_path / name)
    with pytest.raises(UsageError, match=r"no \.deb or \.rpm file in it"):
        read(tmp_path / "empty")


def test_a_damaged_package_is_named(tmp_path: Path) -> None:
    whole = debs.build(tmp_path, CONTROL).read_bytes()
    (tmp_path / "cut.deb").write_bytes(whole[:-10])
    with pytest.raises(
        UsageError,
        match=rf"^{tmp_path}/cut\.deb: truncated package: \d+ bytes needed, {len(whole) - 10} found",
    ):
        read(tmp_path)
    (tmp_path / "cut.deb").rename(tmp_path / "a.rpm")
    with pytest.raises(UsageError, match=rf"^{tmp_path}/a\.rpm: no rpm package"):
        read(tmp_path)


def test_the_folder_is_read_before_the_disk(tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "imgfix", "apply", "debian", "no-disk.raw", "--packages", str(tmp_path))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no .deb or .rpm file in it" in done.stderr
