"""A slice of the fuzz of all readers; scripts/bench/fuzz runs it in full."""

from __future__ import annotations

import pytest

from tests.disk.fuzz import READERS, TARGETS, file_of, fuzz, small


@pytest.mark.parametrize("name", TARGETS)
def test_a_value_or_an_image_error(name: str) -> None:
    fuzz(name, 200)


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != "vmdk-flat"])
def test_the_fuzz_starts_from_images_that_are_taken(kind: str) -> None:
    assert READERS[kind](file_of(small(kind))).size >= 1 << 20 or kind == "ova"
