"""newc archives: cpio itself and the reader take them for what they are."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.errors import GuestError
from imgfix.facts import cpio
from imgfix.facts.source import Source
from imgfix.pack import newc

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..", cpio.TRAILER)
)
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_ENTRIES = st.lists(st.builds(newc.Entry, _PATHS, st.binary(max_size=300)), max_size=6)

TREE = (
    newc.folder("usr"),
    newc.folder("usr/empty"),
    newc.Entry("usr/one", b"1"),
    newc.Entry("usr/run", b"#!/bin/sh\n", stat.S_IFREG | 0o755),
    newc.Entry("usr/nothing"),
    newc.link("lib", "usr/lib"),
    newc.Entry("größe", b"four" * 1000),
)


def _cpio(data: bytes, *arguments: str, folder: Path) -> str:
    argv = ("cpio", "--quiet", "--extract", *arguments)
    done = subprocess.run(argv, input=data, cwd=folder, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode()


def test_cpio_lists_the_entries_in_their_order(tmp_path: Path) -> None:
    listed = _cpio(newc.archive(TREE), "--list", folder=tmp_path)
    assert listed.splitlines() == [entry.path for entry in TREE]


def test_cpio_unpacks_what_was_packed(tmp_path: Path) -> None:
    _cpio(newc.archive(TREE), folder=tmp_path)
    for entry in TREE:
        path = tmp_path / entry.path
        mode = path.lstat().st_mode
        assert stat.S_IFMT(mode) == stat.S_IFMT(entry.mode), entry.path
        if stat.S_ISLNK(mode):
            assert str(path.readlink()) == entry.content.decode()
            continue
        assert stat.S_IMODE(mode) == stat.S_IMODE(entry.mode), entry.path
        if stat.S_ISREG(mode):
            assert path.read_bytes() == entry.content


@given(_ENTRIES)
def test_the_reader_gets_back_what_was_written(entries: list[newc.Entry]) -> None:
    data = newc.archive(entries)
    source = Source(iter((data,)), "x", len(data))
    found: list[newc.Entry] = []
    for member in cpio.members(source):
        assert (member.links, member.is_file) == (1, not member.is_trailer)
        found.append(newc.Entry(member.path, source.take(member.size), member.mode))
    clean = [newc.Entry("/".join(p for p in e.path.split("/") if p != "."), e.content) for e in entries]
    assert [*clean, newc.Entry(cpio.TRAILER, mode=0)] == found
    assert source.offset == len(data)


@given(_ENTRIES)
def test_the_length_is_a_multiple_of_four_and_the_bytes_are_the_same_each_time(
    entries: list[newc.Entry],
) -> None:
    assert len(newc.archive(entries)) % 4 == 0
    assert newc.archive(entries) == newc.archive(entries)


def test_each_entry_has_an_inode_of_its_own() -> None:
    data = newc.archive(TREE)
    source = Source(iter((data,)), "x", len(data))
    inodes = [member.inode for member in cpio.members(source)]
    assert len(set(inodes)) == len(TREE) + 1


@pytest.mark.parametrize("path", ["/etc/passwd", "", "a\0b", "n" * 4096])
def test_what_no_header_can_name_is_refused(path: str) -> None:
    with pytest.raises(GuestError, match="cannot be named in an initramfs"):
        newc.archive([newc.Entry(path)])


def test_the_longest_name_is_taken() -> None:
    path = "n" * 4095
    data = newc.archive([newc.Entry(path)])
    assert next(cpio.members(Source(iter((data,)), "x", len(data)))).path == path
