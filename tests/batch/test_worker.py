"""What is read off an apply's end."""

from __future__ import annotations

import pytest

from imgfix.batch.worker import _verdict


@pytest.mark.parametrize(
    ("status", "said", "verdict"),
    [
        (0, "a\nDebian 12, profile debian\nready: /o.vhd\n", ("ready: Debian 12, profile debian", None)),
        (0, "", ("ready", None)),
        (3, "copying ...\nerror: two\nlines\nhint: do\n", ("two\nlines", "do")),
        (4, "error: first\n  said\nerror: last\n", ("last", None)),
        (-9, "error: no\n", ("imgfix apply was killed by SIGKILL", "for lack of memory? `journalctl -k` tells")),
        (1, "", ("imgfix apply ended with exit code 1 and no message", "its log has all that it said")),
    ],
)  # fmt: skip
def test_verdicts(status: int, said: str, verdict: tuple[str, str | None]) -> None:
    assert _verdict(status, said) == verdict
