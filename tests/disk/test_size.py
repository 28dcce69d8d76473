from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.disk.size import (
    GIB,
    MIB,
    TIB,
    Limits,
    check_size,
    describe,
    parse_size,
    require_larger,
    round_up_mib,
)
from imgfix.errors import ImageError, UsageError


@given(st.integers(0, 2**63))
def test_rounding_grows_by_less_than_a_mib(size: int) -> None:
    rounded = round_up_mib(size)
    assert rounded % MIB == 0
    assert 0 <= rounded - size < MIB


@pytest.mark.parametrize(
    ("size", "gen1", "gen2", "warnings"),
    [
        (20 * MIB, True, True, 0),
        (1023 * GIB, True, True, 0),
        (1023 * GIB + MIB, True, True, 1),
        (2 * TIB, True, False, 1),
        (2 * TIB + MIB, True, True, 2),
        (2 * TIB + MIB, False, True, 1),
        (4095 * GIB, False, True, 1),
        (4095 * GIB, False, False, 1),
    ],
)
def test_taken_with_warnings(size: int, gen1: bool, gen2: bool, warnings: int) -> None:
    assert len(check_size(size, gen1=gen1, gen2=gen2)) == warnings


@pytest.mark.parametrize(
    ("size", "gen1", "gen2"),
    [
        (20 * MIB - 512, True, True),
        (2 * TIB + MIB, True, False),
        (4095 * GIB + MIB, False, True),
        (4095 * GIB + MIB, True, True),
        (4095 * GIB + MIB, False, False),
    ],
)
def test_refused_with_both_numbers(size: int, gen1: bool, gen2: bool) -> None:
    with pytest.raises(ImageError) as caught:
        check_size(size, gen1=gen1, gen2=gen2)
    assert str(size) in caught.value.message
    assert caught.value.message.count("bytes") == 2


def test_a_profile_sets_its_own_limits() -> None:
    limits = Limits(warn_above=MIB, gen1_max=3 * MIB, gen2_max=4 * MIB, min_upload=MIB)
    assert check_size(2 * MIB, gen1=True, gen2=False, limits=limits)
    with pytest.raises(ImageError):
        check_size(4 * MIB, gen1=True, gen2=False, limits=limits)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB (1536 bytes)"),
        (31 * MIB, "31 MiB (32505856 bytes)"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert describe(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64G", 64 * GIB),
        (" 64 GiB", 64 * GIB),
        ("65536m", 64 * GIB),
        ("2T", 2 * TIB),
        ("68719476736", 64 * GIB),
        ("0", 0),
    ],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "64GB", "64 G B", "-1G", "1.5G", "1e3", "64K", "٣G", "9" * 13])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        parse_size(text)


def test_a_size_between_two_mib_comes_with_the_next_one() -> None:
    with pytest.raises(UsageError, match="no whole number of MiB") as caught:
        parse_size(str(GIB + 512))
    assert caught.value.hint == f"the next one is {GIB + MIB}"


def test_no_disk_gets_smaller() -> None:
    require_larger("d.raw", GIB, GIB)
    with pytest.raises(UsageError, match=r"d\.raw: has 1 GiB .* asks for 1023 MiB"):
        require_larger("d.raw", GIB, GIB - MIB)
