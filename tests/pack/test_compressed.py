"""Compression for the kernel: the real tools unpack it, and imgfix reads it back."""

from __future__ import annotations

import random
import subprocess

import pytest

from imgfix.facts import compression
from imgfix.facts.source import Source
from imgfix.pack.compressed import COMPRESSORS

DATA = random.Random(4).randbytes(100_000) + bytes(9 << 20) + b"end"
TOOLS = {"gzip": ("gzip", "-dc"), "xz": ("xz", "-dc"), "zstd": ("zstd", "-qdc"), "lz4": ("lz4", "-qdc")}


@pytest.mark.parametrize("name", TOOLS)
def test_the_tool_unpacks_it(name: str) -> None:
    done = subprocess.run(TOOLS[name], input=COMPRESSORS[name](DATA), capture_output=True, check=True)
    assert done.stdout == DATA


@pytest.mark.parametrize("name", TOOLS)
def test_the_tool_unpacks_two_behind_each_other(name: str) -> None:
    """dracut unpacks an image so at shutdown (dracut-initramfs-restore)."""
    two = COMPRESSORS[name](b"one" * 50) + COMPRESSORS[name](b"two")
    done = subprocess.run(TOOLS[name], input=two, capture_output=True, check=True)
    assert done.stdout == b"one" * 50 + b"two"


@pytest.mark.parametrize("name", TOOLS)
def test_imgfix_reads_it_under_its_name(name: str) -> None:
    packed = COMPRESSORS[name](DATA)
    row = compression.detect(packed[: compression.MAGIC_SIZE])
    assert row is not None
    assert (row.name, row.magic == compression.LZ4_FRAME_MAGIC) == (name, False)
    assert b"".join(compression.unpack(row, Source(iter((packed,)), "x", len(packed)))) == DATA


@pytest.mark.parametrize("name", COMPRESSORS)
def test_the_same_data_gives_the_same_bytes(name: str) -> None:
    assert COMPRESSORS[name](DATA) == COMPRESSORS[name](DATA)


def test_none_leaves_the_data_as_it_is() -> None:
    assert COMPRESSORS["none"](DATA) == DATA


def test_xz_has_the_check_that_the_kernel_knows() -> None:
    """Stream flags: the second byte behind the magic is the check, 1 for CRC32 (xz's file format, 2.1.1.2)."""
    assert COMPRESSORS["xz"](DATA)[7] == 1
