"""Diffs, with patch(1) as the oracle."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imgfix.reports.diff import MAX_LINES, diff

TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "\n", "\x0cb\n", "-a\n", "+\r\n", "c"]), max_size=8).map(
    "".join
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TEXTS, after=TEXTS)
@example(before="a", after="a\n")
@example(before="", after="a")
@example(before="a\u2028b\n", after="a\u2028c\n")
def test_patch_makes_after_of_before(tmp_path: Path, before: str, after: str) -> None:
    lines, why = diff(before, after)
    assert lines is not None, why
    if before == after:
        assert lines == ()
        return
    file = tmp_path / "file"
    file.write_bytes(before.encode())
    text = "\n".join(("--- file", "+++ file", *lines, ""))
    argv = ("patch", "--binary", "--no-backup-if-mismatch", "-s", str(file))
    subprocess.run(argv, input=text.encode(), check=True, capture_output=True)
    assert (file.read_bytes() if file.exists() else b"") == after.encode()


def test_a_long_diff_ends_with_what_is_left() -> None:
    lines, _ = diff("", "x\n" * (MAX_LINES + 99))
    assert lines is not None
    assert lines[-1] == "\\ 100 more lines"


def test_what_would_take_too_long_is_not_compared() -> None:
    assert diff("", "x\n" * 10_000) == (None, "0 and 10000 lines")


@pytest.mark.parametrize("text", ["", "a\n", "a"])
def test_no_difference_is_no_line(text: str) -> None:
    assert diff(text, text) == ((), "")
