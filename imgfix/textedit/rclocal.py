"""/etc/rc.d/rc.local: a shell script that the last service of the boot runs, before systemd.

Grammar: sh; only whole lines at its end are looked at. Debian's ends with `exit 0`, behind which nothing runs.
"""

from __future__ import annotations

import re

from imgfix.textedit import physical_lines


def with_line(text: str, line: str) -> str:
    """Return `text` with `line` at its end, but before a last `exit`; unchanged where it is there already.

    An empty text gets the line that makes it a script.
    """
    lines = physical_lines.split(text) or ["#!/bin/sh\n"]
    if any(physical_lines.body_and_end(one)[0] == line for one in lines):
        return text
    index = len(lines)
    while index and re.fullmatch(r"(#.*)?", lines[index - 1].strip()):
        index -= 1
    if not index or not re.fullmatch(r"exit(\s+\d+)?\s*(#.*)?", lines[index - 1].strip()):
        return "".join(physical_lines.insert(lines, len(lines), line, physical_lines.newline(text)))
    return "".join(physical_lines.insert(lines, index - 1, line, physical_lines.newline(text)))
