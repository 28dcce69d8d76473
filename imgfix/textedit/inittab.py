"""/etc/inittab of SysV init: which terminals have a login.

Grammar: inittab(5): `id:runlevels:action:process`, `#` starts a comment line, an id has 1 to 4 characters and
must be there once. Upstart (EL 6) reads nothing of it but `initdefault`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines

_ID_MAX = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `line` is 1-based."""

    line: int
    id: str
    levels: str
    action: str
    process: str


def entries(text: str) -> tuple[Entry, ...]:
    """Return the entries, in order. Raises ParseError on a line with fewer than four fields."""
    found = []
    for number, line in enumerate(physical_lines.split(text), 1):
        body = physical_lines.body_and_end(line)[0].strip(" \t")
        if not body or body.startswith("#"):
            continue
        fields = body.split(":", 3)
        if len(fields) < 4:
            raise ParseError("inittab: not an entry of four fields", line=number)
        found.append(Entry(number, *fields))
    return tuple(found)


def is_sysv(text: str) -> bool:
    """Tell whether SysV init runs the guest by this file: something in it starts the system."""
    return any(entry.action == "sysinit" or entry.id == "si" for entry in entries(text))


def with_login(text: str, port: str) -> str:
    """Return `text` so that a login waits on serial port `port` (ttyS0) in every level for many users.

    Raises ParseError as `entries` does, or if no id is left for it.
    """
    found = entries(text)
    if any(entry.action == "respawn" and _names(entry.process, port) for entry in found):
        return text
    taken = {entry.id for entry in found}
    number = re.sub(r"\D", "", port)
    free = [name for name in (f"S{number}", f"T{number}", f"ser{number}") if name not in taken]
    if not free or len(free[0]) > _ID_MAX:
        raise ParseError(f"inittab: no id left for a login on {port}")
    line = f"{free[0]}:2345:respawn:/sbin/agetty -L 115200 {port} vt102"
    lines = physical_lines.split(text)
    return "".join(physical_lines.insert(lines, len(lines), line, physical_lines.newline(text)))


def _names(process: str, port: str) -> bool:
    return "getty" in process and re.search(rf"(?:^|[ /]){port}(?: |$)", process) is not None
