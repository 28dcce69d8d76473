"""systemd unit files: the [Install] section, which says what enabling a unit links.

Grammar: systemd.syntax(7), https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html:
lines are stripped, `#` and `;` start comments, a backslash at the end continues a line with a blank
(comment lines between are skipped), repeated keys add up, an empty value resets. Keys of [Install]:
systemd.unit(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.errors import ParseError

_WORD = re.compile(r"""(?:[^\s"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')+""")


@dataclass(frozen=True, slots=True)
class Install:
    """What [Install] names: units as written, specifiers (`%i`) not expanded."""

    wanted_by: tuple[str, ...] = ()
    required_by: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    alias: tuple[str, ...] = ()


def install_section(text: str) -> Install:
    """Return the [Install] sections of `text` as one. Raises ParseError on a header without its `]`.

    Lines without an equals sign and unknown keys are skipped, as systemd does.
    """
    values: dict[str, list[str]] = {"WantedBy": [], "RequiredBy": [], "Also": [], "Alias": []}
    section = ""
    for number, line in _logical_lines(text):
        if line.startswith("["):
            if not line.endswith("]"):
                raise ParseError(f"unit file: the section header {line!r} is not closed", line=number)
            section = line[1:-1]
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if section == "Install" and equals and key in values:
            values[key] = [*values[key], *_words(value)] if value else []
    wanted_by, required_by, also, alias = (tuple(found) for found in values.values())
    return Install(wanted_by, required_by, also, alias)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines, continuations joined, with the 1-based number they begin at; no comments."""
    whole, begin = "", 0
    for number, physical in enumerate(text.split("\n"), 1):
        line = physical.strip()
        if line.startswith(("#", ";")) or (not line and not whole):
            continue
        begin = begin or number
        if line.endswith("\\") and not line.endswith("\\\\"):
            whole += line[:-1] + " "
            continue
        yield begin, (whole + line).strip()
        whole, begin = "", 0
    if whole.strip():
        yield begin, whole.strip()


def _words(value: str) -> list[str]:
    """Cut a value at white space outside of quotes, which are taken off."""
    return [re.sub(r"[\"']", "", word) for word in _WORD.findall(value)]
