"""One row of the table of symptoms. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from imgfix.rehearsal.events import Stage

#: The rank of a boot of which nothing was seen.
NOTHING = -1


class Where(Enum):
    """Which text a row is about."""

    CONSOLE = "console"
    FIRMWARE = "firmware"
    LOGS = "logs"
    SSH = "ssh"
    REPORTS = "reports"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Symptom:
    """One row. It counts where the boot came at least to `first` and at most to `last` (-1: nothing was seen).

    `final`: the boot will not get further by waiting. `absent`: it counts where the pattern is not found.
    """

    name: str
    first: int
    last: int
    where: Where
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    key: str = ""
    stage: Stage | None = None
    final: bool = False
    absent: bool = False
    needs_login: bool = False


def row(
    name: str, span: tuple[int, int], where: Where, pattern: str, cause: str, remedy: str, key: str = "",
    *, stage: Stage | None = None, final: bool = False, absent: bool = False, needs_login: bool = False,
) -> Symptom:  # fmt: skip
    """Return a row; `span` is its first and its last stage."""
    compiled = re.compile(pattern, re.MULTILINE)
    return Symptom(name, *span, where, compiled, cause, remedy, key, stage, final, absent, needs_login)
