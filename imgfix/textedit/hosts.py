"""/etc/hosts.

Grammar: hosts(5): an address and names, separated by blanks or tabs; `#` starts a comment anywhere. Names are
compared without case.
"""

from __future__ import annotations

import re

from imgfix.textedit import physical_lines


def without_host(text: str, host: str) -> str:
    """Return `text` in which no loopback address is called `host`, neither its short name nor a longer one.

    For web01: web01 and web01.example.com. A line that has no other name goes. Lines of other addresses stay:
    they may be about a machine that goes on under that name.
    """
    short = re.escape(host.partition(".")[0])
    names = re.compile(rf"[ \t]+{short}(?:\.[^\s#]*)?(?=[\s#]|$)", re.IGNORECASE)
    return "".join(_without(line, names) for line in physical_lines.split(text))


def _without(line: str, names: re.Pattern[str]) -> str:
    fields, hash_sign, comment = line.partition("#")
    if not re.match(r"[ \t]*(127\.|::1[ \t])", fields):
        return line
    left = names.sub("", fields)
    if left == fields:
        return line
    return left + hash_sign + comment if len(left.split()) > 1 else ""
