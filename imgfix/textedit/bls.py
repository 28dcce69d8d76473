"""Boot Loader Specification entries: /boot/loader/entries/*.conf.

Grammar: https://uapi-group.org/specifications/specs/boot_loader_specification/ and GRUB's reader
(`blscfg.c` of https://github.com/rhboot/grub2): a key, blanks or tabs, the rest of the line; `#` starts a
comment line; several `options` lines count as one, joined by a blank. GRUB stops reading at a line without
a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines

_LINE = re.compile(r"(?P<head>[ \t]*(?P<key>[^ \t#][^ \t]*)[ \t]+)(?P<value>.*?)(?P<tail>[ \t]*)", re.DOTALL)


def get(text: str, key: str) -> str | None:
    """Return the value of `key`, several lines of it joined by a blank; None if there is none."""
    values = [match["value"] for match in _entries(text) if match and match["key"] == key]
    return " ".join(values) if values else None


def options(text: str) -> str:
    """Return the kernel command line of the entry, GRUB's variables (`$kernelopts`) as written."""
    return get(text, "options") or ""


def boots(text: str, release: str) -> bool:
    """Tell whether the entry loads kernel `release`: /vmlinuz-RELEASE, or /TOKEN/RELEASE/linux as systemd has it."""
    return re.search(rf"(?:^|[/-]){re.escape(release)}(?:/|$)", get(text, "linux") or "") is not None


def map_options(text: str, fn: Callable[[str], str]) -> str:
    """Return `text` so that `options` gives what `fn` makes of it: the first line is edited, others go.

    If nothing is left the line goes too, as GRUB would stop reading at a bare `options`. A line that was
    not there goes behind the last key. Raises ParseError on a stray carriage return,
    ValueError if `fn` returns more than one line.
    """
    old = options(text)
    new = fn(old)
    if new == old:
        return text
    new = new.strip(" \t")
    if "\r" in old:
        raise ParseError("BLS entry: a carriage return inside the options")
    if "\n" in new or "\r" in new:
        raise ValueError(f"not one line of kernel arguments: {new!r}")
    lines = physical_lines.split(text)
    matches = _entries(text)
    places = [index for index, match in enumerate(matches) if match and match["key"] == "options"]
    if not places:
        return _added(text, lines, matches, new)
    lines[places[0]] = _replaced(lines[places[0]], matches[places[0]], new)
    gone = set(places[1:]) if new else set(places)
    return "".join(line for index, line in enumerate(lines) if index not in gone)


def _added(text: str, lines: list[str], matches: list[re.Match[str] | None], value: str) -> str:
    if not value:
        return text
    last = max((index for index, match in enumerate(matches) if match), default=-1)
    return "".join(physical_lines.insert(lines, last + 1, f"options {value}", physical_lines.newline(text)))


def _replaced(line: str, match: re.Match[str] | None, value: str) -> str:
    if match is None:
        raise ParseError("BLS entry: not a line with a key and a value")
    return match["head"] + value + match["tail"] + physical_lines.body_and_end(line)[1]


def _entries(text: str) -> list[re.Match[str] | None]:
    """Return for each line its key and value; None for a comment, a blank line or a key without a value."""
    bodies = (physical_lines.body_and_end(line)[0] for line in physical_lines.split(text))
    return [_LINE.fullmatch(body) for body in bodies]
