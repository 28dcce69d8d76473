r"""/etc/fstab.

Grammar: `mnt_parse_table_line` in
https://github.com/util-linux/util-linux/blob/master/libmount/src/tab_parse.c: source, target and type are
needed, options, dump frequency and pass number are optional; what follows the sixth field is not read; a
line that does not fit is skipped at boot, which here is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines, table_fields
from imgfix.textedit.table_fields import Field

# What strtol takes, as next_s32 in tab_parse.c does.
_NUMBER = re.compile(r"[+-]?[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file system: the fields of fstab(5), octal escapes decoded. `line` is 1-based.

    `spec` is as written: `UUID="..."` keeps its quotes, though mount takes them off. `options` is empty if
    the field is missing.
    """

    line: int
    spec: str
    file: str
    vfstype: str
    options: tuple[str, ...] = ()
    freq: int = 0
    passno: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file, ending included, and the entry it holds; None for a comment or a blank line."""

    number: int
    text: str
    entry: Entry | None


def parse(text: str) -> tuple[Line, ...]:
    """Return the lines of `text`. Raises ParseError, with the line, on one that mount skips as broken."""
    table_fields.refuse_nul(text)
    lines = physical_lines.split(text)
    return tuple(Line(number, line, _entry(number, line)) for number, line in enumerate(lines, 1))


def replace_specs(text: str, mapping: Mapping[str, str]) -> str:
    """Return `text` with each first field that is a key of `mapping` (decoded) replaced by its value.

    Columns padded with blanks stay in place as far as there is room. Raises ParseError on a broken line.
    """
    parse(text)
    return table_fields.with_column(text, 0, mapping)


def remove(text: str, predicate: Callable[[Entry], bool]) -> str:
    """Return `text` without the lines of the entries for which `predicate` holds."""
    gone = {line.number for line in parse(text) if line.entry and predicate(line.entry)}
    return table_fields.without(text, gone.__contains__) if gone else text


def map_options(text: str, fn: Callable[[Entry], tuple[str, ...]]) -> str:
    """Return `text` with the options of each entry as `fn` gives them; none at all become `defaults`."""
    lines = [line.text for line in parse(text)]
    for line in parse(text):
        if line.entry is None:
            continue
        options = fn(line.entry)
        if options != line.entry.options:
            lines[line.number - 1] = _with_options(line.text, ",".join(options) or "defaults")
    return "".join(lines)


def _with_options(line: str, options: str) -> str:
    fields = table_fields.cut(line)
    if len(fields) > 3:
        return table_fields.with_field(line, fields[3], table_fields.encode(options))
    at = fields[2].end
    return f"{line[:at]} {table_fields.encode(options)}{line[at:]}"


def _entry(number: int, line: str) -> Entry | None:
    fields = table_fields.cut(line)
    if not fields:
        return None
    if len(fields) < 3:
        raise ParseError(f"fstab: {len(fields)} fields, at least 3 needed", line=number)
    options = _options(fields[3].text) if len(fields) > 3 else ()
    freq, passno = (_number(fields, index, number) for index in (4, 5))
    return Entry(number, fields[0].text, fields[1].text, fields[2].text, options, freq, passno)


def _number(fields: tuple[Field, ...], index: int, line: int) -> int:
    if len(fields) <= index:
        return 0
    if not _NUMBER.fullmatch(fields[index].raw):
        what = ("dump frequency", "pass number")[index - 4]
        raise ParseError(f"fstab: the {what} {fields[index].raw!r} is not a number", line=line)
    return int(fields[index].raw)


def _options(text: str) -> tuple[str, ...]:
    """Cut options at commas outside of double quotes, as ul_optstr_next in libmount does."""
    found = re.findall(r'(?:[^,"]|"[^"]*"|")+', text)
    return tuple(found)
