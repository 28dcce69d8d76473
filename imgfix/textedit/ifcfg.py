"""ifcfg files of Red Hat and SUSE: shell assignments, one NIC a file.

Grammar: that of imgfix.textedit.shellvars, since network-scripts and SUSE's ifup source these files.
NetworkManager and wicked read the same lines without a shell.
"""

from __future__ import annotations

from collections.abc import Collection

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines, shellvars


def values(text: str) -> dict[str, str]:
    """Return every variable with its last value. Raises ParseError with the line."""
    names = dict.fromkeys(one.name for one in shellvars.assignments(text))
    return {name: shellvars.get(text, name) or "" for name in names}


def without(text: str, names: Collection[str]) -> str:
    """Return `text` without the lines that assign `names`.

    Raises ParseError where such a line holds something else, too.
    """
    gone: set[int] = set()
    lines = physical_lines.split(text)
    for one in shellvars.assignments(text):
        if one.name not in names:
            continue
        first, last = one.line, physical_lines.number(text, max(one.end - 1, one.start))
        begin = sum(len(line) for line in lines[: first - 1])
        before = text[begin : one.start].strip().removeprefix("export").strip()
        after = text[one.end :].split("\n", 1)[0].strip(" \t\r;")
        if before not in (f"{one.name}=", f"{one.name}+=") or (after and not after.startswith("#")):
            raise ParseError(f"{one.name} shares its line with something else", line=first)
        gone |= set(range(first, last + 1))
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)
