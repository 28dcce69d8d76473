"""Keeping the work copy of an apply that failed, for those who look into it."""

from __future__ import annotations

import os
from pathlib import Path

from imgfix.disk.fault import host_errors

#: More kept copies of one output than this are no longer looked at by anybody.
_MOST = 100


def keep(work: Path, output: Path) -> Path:
    """Give the file `work` a second name beside `output`, and return it: NAME.failed.raw, NAME.failed-2.raw ...

    A link, so that nothing is copied, nothing that is there is replaced, and whoever removes `work` may do so.
    Raises HostError where the file system has no hard links.
    """
    names = [f"{output.stem}.failed.raw", *(f"{output.stem}.failed-{n}.raw" for n in range(2, _MOST + 1))]
    name = next((n for n in names if not os.path.lexists(output.with_name(n))), names[-1])
    kept = output.with_name(name)
    with host_errors("keeping the work copy", kept):
        os.link(work, kept)
    return kept
