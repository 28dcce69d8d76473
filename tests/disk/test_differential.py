"""What imgfix converts, read by qemu-img, libvhdi and dissect: the same bytes, the same size, padded to a MiB."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.disk.differential import CASES, SLICE, Case, check
from tests.disk.images import KINDS


@pytest.mark.parametrize("case", SLICE, ids=str)
def test_three_readers_see_the_source(tmp_path: Path, case: Case) -> None:
    check(case, tmp_path)


def test_the_full_run_has_every_kind_and_enough_images() -> None:
    assert len(set(CASES)) == len(CASES) >= 200
    assert {case.kind for case in CASES} == set(KINDS)
