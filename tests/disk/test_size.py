from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.disk.size import GIB, MIB, TIB, Limits, check_size, describe, round_up_mib
from imgfix.errors import ImageError


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
