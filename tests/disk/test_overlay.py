"""The overlay: as large as the data, and the source stays as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from imgfix.disk.overlay import overlay
from imgfix.disk.source import open_source
from imgfix.errors import GuestError, HostError, ImageError
from tests.disk.disks import MIB, gpt_disk, run


def _info(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(run("qemu-img", "info", "--output=json", path))
    return found


def test_a_footer_is_no_part_of_the_disk(tmp_path: Path) -> None:
    raw = gpt_disk(tmp_path / "a,b:c.raw")
    vhd = tmp_path / "d.vhd"
    run("qemu-img", "convert", "-O", "vpc", "-o", "subformat=fixed,force_size", f"file:{raw}", vhd)
    with overlay(open_source(vhd)) as above:
        info = _info(above)
    assert (info["virtual-size"], vhd.stat().st_size) == (40 * MIB, 40 * MIB + 512)


def test_writes_stay_in_the_overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = gpt_disk(tmp_path / "a,b:c.raw")
    os.truncate(raw, 40 * MIB + 100)  # half a sector is one
    before = raw.read_bytes()
    monkeypatch.chdir(tmp_path)
    with overlay(open_source(Path(raw.name))) as above:
        assert _info(above)["virtual-size"] == 40 * MIB + 512
        run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1M", above)
        folder = above.parent
    assert raw.read_bytes() == before
    assert not folder.exists()


def test_no_space_for_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(gpt_disk(tmp_path / "d.raw"))
    (tmp_path / "qemu-img").write_text("#!/bin/sh\necho no space left >&2; exit 1\n")
    (tmp_path / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="no space left"), overlay(source):
        pass
    (tmp_path / "qemu-img").unlink()
    with pytest.raises(HostError, match="not installed"), overlay(source):
        pass


def _change(raw: Path, how: str) -> None:
    if how == "write":
        with raw.open("r+b") as stream:
            stream.write(b"x")
    elif how == "cut":
        os.truncate(raw, MIB)
    elif how == "remove":
        raw.unlink()
    else:
        gpt_disk(raw.with_name("other.raw")).replace(raw)


def _used(raw: Path, how: str, *, is_failing: bool) -> None:
    with overlay(open_source(raw)):
        _change(raw, how)
        if is_failing:
            raise GuestError("mount: can't read superblock on /dev/sda1")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("write", "somebody wrote to it"),
        ("cut", f"{40 * MIB} bytes before, {MIB} now"),
        ("remove", "vanished"),
        ("replace", "another file has its name now"),
    ],
)
@pytest.mark.parametrize("is_failing", [False, True])
def test_a_source_that_changes_meanwhile_is_told(
    tmp_path: Path, how: str, told: str, is_failing: bool
) -> None:
    """A disk that is unplugged or still in use: no verdict on it holds, and no other error is the cause."""
    with pytest.raises(ImageError, match=told):
        _used(gpt_disk(tmp_path / "d.raw"), how, is_failing=is_failing)
