"""Digests: the same for the same bytes, however they are stored; another for whatever else changes an output."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from imgfix.batch import digest
from imgfix.batch.image import Image
from imgfix.errors import UsageError

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """An image whose source is 5 MiB and some bytes, with data in three places."""
    source = tmp_path / "d.raw"
    with source.open("wb") as stream:
        stream.truncate(5 * MIB + 700)
        for at, data in ((10, b"first"), (2 * MIB - 2, b"over the edge"), (5 * MIB + 690, b"end")):
            stream.seek(at)
            stream.write(data)
    return Image(0, "d.vhd", source, tmp_path / "d.vhd", tmp_path, "rhel")


def test_holes_and_zeros_are_alike(image: Image, tmp_path: Path) -> None:
    full = tmp_path / "full.raw"
    full.write_bytes(image.source.read_bytes())
    assert full.stat().st_blocks > image.source.stat().st_blocks
    assert digest.content(full).same_as(digest.content(image.source))


@pytest.mark.parametrize(
    ("at", "data"), [(10, b"First"), (3 * MIB, b"x"), (5 * MIB + 699, b"x"), (5 * MIB + 700, b"\0")]
)
def test_any_byte_counts(image: Image, at: int, data: bytes) -> None:
    before = digest.content(image.source)
    with image.source.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)
    assert not digest.content(image.source).same_as(before)


def test_moved_data_is_other_data(tmp_path: Path) -> None:
    digests = set()
    for at in (0, MIB, 2 * MIB):
        path = tmp_path / "m.raw"
        with path.open("wb") as stream:
            stream.truncate(4 * MIB)
            stream.seek(at)
            stream.write(b"data")
        digests.add(digest.content(path).sha256)
    assert len(digests) == 3


def test_what_is_known_is_taken_while_the_stamp_is_the_same(image: Image) -> None:
    known = digest.content(image.source).model_copy(update={"sha256": "known"})
    assert digest.content(image.source, known).sha256 == "known"
    os.utime(image.source)
    assert digest.content(image.source, known).sha256 != "known"


def test_all_that_makes_an_output(image: Image, tmp_path: Path) -> None:
    before = digest.inputs(image)
    assert digest.inputs(image).same_as(before)
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "a.deb").touch()
    (tmp_path / "own.yaml").write_text("extends: rhel\nfiles:\n  /etc/x: {source: x}\n  /etc/y: {link: x}\n")
    (tmp_path / "x").write_text("one")
    own = replace(image, profile=str(tmp_path / "own.yaml"))
    first = digest.inputs(own)
    (tmp_path / "x").write_text("two")
    others = [
        digest.inputs(replace(image, settings=("swap.size_mib=7",))),
        digest.inputs(replace(image, mode="specialized")),
        digest.inputs(replace(image, network=False)),
        digest.inputs(replace(image, packages=packages)),
        digest.inputs(replace(image, profile="auto")),
        before.model_copy(update={"imgfix": "0.0.1"}),
        first,
        digest.inputs(own),
    ]
    everything = [before, *others]
    assert [one.same_as(other) for one in everything for other in everything].count(True) == len(everything)


def test_what_cannot_be_read(image: Image, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        digest.inputs(replace(image, source=tmp_path / "none"))
    with pytest.raises(UsageError, match="folder"):
        digest.content(tmp_path)
