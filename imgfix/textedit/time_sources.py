"""Where a clock gets its time: chrony.conf, ntp.conf and timesyncd.conf.

Grammar: chrony (CPS_NormalizeLine and CNF_ParseLine, https://gitlab.com/chrony/chrony/-/blob/master/conf.c): blanks
around, names of directives in any case, a line that begins with one of `!;#%` is a comment. ntp.conf(5) is alike
in these directives. timesyncd.conf(5): NTP= and FallbackNTP= with names between blanks.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from imgfix.textedit import physical_lines

_SERVER = re.compile(r"[ \t]*(?:server|pool|peer)[ \t]+(\S+)", re.IGNORECASE)
_SOURCE = re.compile(
    r"\s*(?:server|pool|peer|refclock|include|confdir|sourcedir|initstepslew)\b", re.IGNORECASE
)
_NAMES = re.compile(r"([ \t]*(?:Fallback)?NTP[ \t]*=)(.*)")


def without_servers(text: str, gone: Callable[[str], bool]) -> str:
    """Return the text of chrony.conf or ntp.conf without the servers, pools and peers whose name is `gone`."""
    lines = physical_lines.split(text)
    return "".join(line for line in lines if not ((found := _SERVER.match(line)) and gone(found[1])))


def has_source(text: str) -> bool:
    """Tell whether chrony.conf or ntp.conf names any source of time, or another file that may."""
    return any(_SOURCE.match(line) for line in physical_lines.split(text))


def without_names(text: str, gone: Callable[[str], bool]) -> str:
    """Return the text of timesyncd.conf without the names that are `gone`; a list may become empty."""
    return "".join(_without(line, gone) for line in physical_lines.split(text))


def _without(line: str, gone: Callable[[str], bool]) -> str:
    body, end = physical_lines.body_and_end(line)
    found = _NAMES.fullmatch(body)
    if not found or not any(map(gone, found[2].split())):
        return line
    kept = [name for name in found[2].split() if not gone(name)]
    return found[1] + " ".join(kept) + end
