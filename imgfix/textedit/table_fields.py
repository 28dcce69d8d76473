r"""Lines of blank-separated fields, as fstab and crypttab have them: cut, decoded, replaced in place.

Fields are separated by blanks and tabs; `\ooo` stands for the byte with that octal number (fstab(5),
crypttab(5)).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a line: its text as written, and its offsets in the line."""

    raw: str
    start: int
    end: int

    @property
    def text(self) -> str:
        """The field with its octal escapes decoded."""
        return decode(self.raw)


def cut(line: str) -> tuple[Field, ...]:
    """Return the fields of `line`; none if it is blank or a comment (`#` behind leading blanks)."""
    body = physical_lines.body_and_end(line)[0]
    if body.lstrip(" \t").startswith("#"):
        return ()
    return tuple(Field(match[0], match.start(), match.end()) for match in re.finditer(r"[^ \t]+", body))


def decode(raw: str) -> str:
    r"""Return `raw` with each `\ooo` replaced by its byte, other backslashes kept, as libmount does."""
    data = raw.encode("utf-8", "surrogateescape")
    data = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), data)
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> str:
    r"""Return `text` as one field: blanks, line ends, backslashes and a leading `#` escaped."""
    raw = re.sub(r"[ \t\n\r\\]", lambda match: f"\\{ord(match[0]):03o}", text)
    return "\\043" + raw[1:] if raw.startswith("#") else raw


def with_field(line: str, field: Field, raw: str) -> str:
    """Return `line` with `field` replaced; blanks behind it give way to keep the next column in place."""
    rest = line[field.end :]
    gap = len(rest) - len(rest.lstrip(" "))
    follows = rest[gap : gap + 1] not in ("", "\t", "\r", "\n")
    if gap > 1 and follows:
        rest = " " * max(1, gap + len(field.raw) - len(raw)) + rest[gap:]
    return line[: field.start] + raw + rest


def with_column(text: str, index: int, mapping: Mapping[str, str]) -> str:
    """Return `text` with the field `index` of each line replaced as `mapping` (decoded texts) says.

    Raises ValueError on a mapping that leads on from one of its results or to nothing.
    """
    chained = [new for old, new in mapping.items() if new != old and new in mapping]
    if chained or "" in mapping.values():
        raise ValueError(f"not a mapping to final names: {dict(mapping)!r}")
    lines = physical_lines.split(text)
    for place, line in enumerate(lines):
        fields = cut(line)
        if len(fields) > index:
            old = fields[index].text
            new = mapping.get(old, old)
            if new != old:
                lines[place] = with_field(line, fields[index], encode(new))
    return "".join(lines)


def without(text: str, drop: Callable[[int], bool]) -> str:
    """Return `text` without the lines for whose 1-based number `drop` holds."""
    lines = physical_lines.split(text)
    return "".join(line for number, line in enumerate(lines, 1) if not drop(number))


def refuse_nul(text: str) -> None:
    """Raise ParseError at the first NUL: the programs that read these tables end the line there."""
    at = text.find("\0")
    if at >= 0:
        raise ParseError("a NUL byte in a text file", line=physical_lines.number(text, at))
