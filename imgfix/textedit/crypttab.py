"""/etc/crypttab.

Grammar: crypttab(5) and https://github.com/systemd/systemd/blob/main/src/cryptsetup/cryptsetup-generator.c
(`add_crypttab_devices`): name and device are needed, key file and options are optional, further fields are
not read. Debian's cryptdisks decodes octal escapes as in fstab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines, table_fields


@dataclass(frozen=True, slots=True)
class Entry:
    """One encrypted volume: the fields of crypttab(5), octal escapes decoded. `line` is 1-based.

    `key` is empty if the field is missing; `-` and `none` are as written. `options` are cut at commas.
    """

    line: int
    name: str
    device: str
    key: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file, ending included, and the entry it holds; None for a comment or a blank line."""

    number: int
    text: str
    entry: Entry | None


def parse(text: str) -> tuple[Line, ...]:
    """Return the lines of `text`. Raises ParseError, with the line, on one that has a name only."""
    table_fields.refuse_nul(text)
    lines = physical_lines.split(text)
    return tuple(Line(number, line, _entry(number, line)) for number, line in enumerate(lines, 1))


def replace_specs(text: str, mapping: Mapping[str, str]) -> str:
    """Return `text` with each device (decoded) that is a key of `mapping` replaced by its value."""
    parse(text)
    return table_fields.with_column(text, 1, mapping)


def remove(text: str, predicate: Callable[[Entry], bool]) -> str:
    """Return `text` without the lines of the entries for which `predicate` holds."""
    gone = {line.number for line in parse(text) if line.entry and predicate(line.entry)}
    return table_fields.without(text, gone.__contains__) if gone else text


def _entry(number: int, line: str) -> Entry | None:
    fields = [field.text for field in table_fields.cut(line)]
    if not fields:
        return None
    if len(fields) < 2:
        raise ParseError("crypttab: 1 field, at least 2 needed", line=number)
    name, device, key, options = (*fields[:4], "", "")[:4]
    return Entry(number, name, device, key, tuple(option for option in options.split(",") if option))
