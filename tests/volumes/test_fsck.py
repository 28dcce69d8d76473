"""What of a checker's complaints an unclean shutdown leaves, by real checkers on real file systems."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from imgfix.appliance import Appliance
from imgfix.errors import ImageError, VerifyError
from imgfix.facts.model import Filesystem
from imgfix.volumes import fsck

MIB = 1 << 20


class _Host(Appliance):
    """Runs the appliance's scripts on this host, where images lie in files and udev is of no use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "udevadm").write_text("#!/bin/sh\n")
        (folder / "blockdev").write_text("#!/bin/sh\n")
        for tool in ("udevadm", "blockdev"):
            (folder / tool).chmod(0o755)

    def shell(self, script: str) -> tuple[int, str]:
        script = f"PATH={self._folder}:$PATH:/usr/sbin:/sbin\n{script.replace('sleep 2', '')}"
        done = subprocess.run(
            ("sh", "-c", script), stdout=-1, stderr=subprocess.STDOUT, text=True, check=False
        )
        return done.returncode, done.stdout.strip("\n")


def _vfat(tmp_path: Path, size: int = 40 * MIB, *options: str) -> Path:
    image = tmp_path / "fs"
    with image.open("wb") as stream:
        stream.truncate(size)
    subprocess.run(("mkfs.vfat", *options, image), check=True, capture_output=True)
    return image


def _poke(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


@pytest.mark.parametrize(("bits", "mark"), [(32, 65), (16, 37), (12, 37)])
def test_the_dirty_bit_of_a_vfat_is_taken_away(tmp_path: Path, bits: int, mark: int) -> None:
    image = _vfat(tmp_path, {32: 64, 16: 20, 12: 2}[bits] * MIB, "-F", str(bits))
    filesystem = Filesystem(str(image), "vfat")
    assert fsck.require_sound(_Host(tmp_path), filesystem) is False
    _poke(image, mark, b"\1")
    assert fsck.require_sound(_Host(tmp_path), filesystem) is True
    fsck.require_clean(_Host(tmp_path), filesystem)


def test_a_damaged_vfat_is_refused_and_left_alone(tmp_path: Path) -> None:
    image = _vfat(tmp_path, 20 * MIB, "-F", "16", "-s", "4")
    # FAT16, one reserved sector of 2 KiB clusters: the first cluster of the data points beyond the end.
    fat = int.from_bytes(image.read_bytes()[14:16], "little") * 512
    _poke(image, fat + 4, b"\xf0\xee")
    _poke(image, 37, b"\1")
    before = image.read_bytes()
    with pytest.raises(
        ImageError, match=r"is damaged; nothing has been changed yet. fsck.vfat -n \S+ says"
    ) as caught:
        fsck.require_sound(_Host(tmp_path), Filesystem(str(image), "vfat"))
    assert "Dirty bit" in caught.value.message
    assert image.read_bytes() == before
    with pytest.raises(VerifyError, match="not clean after the changes"):
        fsck.require_clean(_Host(tmp_path), Filesystem(str(image), "vfat"))


@pytest.mark.parametrize("line", ["/file.txt", "  Contains a free cluster (5). Assuming EOF.", "FATs differ"])
def test_other_complaints_are_not_harmless(line: str) -> None:
    assert not re.fullmatch(fsck.CHECKERS["vfat"].harmless, line)
