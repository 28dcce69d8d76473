from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from imgfix.disk import vhd
from imgfix.disk.identity import VARIABLE, footer_identity
from imgfix.disk.source import Source, open_source
from imgfix.errors import UsageError
from tests.disk.disks import MIB, gpt_disk, mbr_disk

OWN = (1_600_000_000, uuid.UUID(int=99))


@pytest.fixture
def raw(tmp_path: Path) -> Source:
    disk = gpt_disk(tmp_path / "d.raw")
    os.utime(disk, (1, 1_650_000_000))
    return open_source(disk)


@pytest.fixture
def fixed(raw: Source) -> Source:
    footer = vhd.fixed_footer(raw.size, timestamp=OWN[0], unique_id=OWN[1])
    return replace(raw, footer=vhd.parse_footer(footer, raw.size + 512))


def test_raw_disk_has_its_time_and_a_derived_uuid(raw: Source) -> None:
    first = footer_identity(raw, {})
    assert first == footer_identity(open_source(raw.path), {})
    assert first.timestamp == 1_650_000_000
    assert first.unique_id.version == 5


def test_uuid_depends_on_the_disk_and_its_size(raw: Source, tmp_path: Path) -> None:
    others = (open_source(mbr_disk(tmp_path / "m.raw")), replace(raw, size=raw.size + MIB))
    assert len({footer_identity(source, {}).unique_id for source in (raw, *others)}) == 3


def test_vhd_keeps_its_own(fixed: Source) -> None:
    assert footer_identity(fixed, {}) == OWN


def test_variable_wins_over_both(raw: Source, fixed: Source) -> None:
    environ = {VARIABLE: "1700000000"}
    assert footer_identity(raw, environ).timestamp == 1_700_000_000
    assert footer_identity(fixed, environ) == (1_700_000_000, OWN[1])


@pytest.mark.parametrize(("text", "expected"), [("0", vhd.EPOCH), ("9" * 18, vhd.LATEST_TIMESTAMP)])
def test_times_that_a_vhd_cannot_hold_are_moved_into_it(raw: Source, text: str, expected: int) -> None:
    assert footer_identity(raw, {VARIABLE: text}).timestamp == expected


def test_empty_variable_is_unset(raw: Source) -> None:
    assert footer_identity(raw, {VARIABLE: ""}) == footer_identity(raw, {})


@pytest.mark.parametrize("text", ["now", "-1", "1.5", " 1", "1\n", "٣", "9" * 5000])
def test_nonsense_is_refused(raw: Source, text: str) -> None:
    with pytest.raises(UsageError, match=VARIABLE):
        footer_identity(raw, {VARIABLE: text})
