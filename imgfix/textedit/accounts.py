"""/etc/passwd, shadow, group, gshadow, subuid and subgid: colon-separated account lines.

Grammar: passwd(5), shadow(5), group(5), gshadow(5), subuid(5), and what shadow-utils' readers accept
(https://github.com/shadow-maint/shadow/tree/master/lib, sgetpwent.c, sgetspent.c, sgetgrent.c). NIS lines
(`+`, `-`), comments and blank lines are kept and not read, as in glibc's nss_files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines


class Kind(Enum):
    """Which file a text is from."""

    PASSWD = "passwd"
    SHADOW = "shadow"
    GROUP = "group"
    GSHADOW = "gshadow"
    SUBID = "subuid"


#: How many fields a line may have. shadow: five is the old form without ageing, eight is without the last,
#: reserved field (https://github.com/shadow-maint/shadow/blob/master/lib/sgetspent.c).
_FIELD_COUNTS = {
    Kind.PASSWD: (7,),
    Kind.SHADOW: (5, 8, 9),
    Kind.GROUP: (4,),
    Kind.GSHADOW: (4,),
    Kind.SUBID: (3,),
}


@dataclass(frozen=True, slots=True)
class Account:
    """One line: its fields in the order of the file's manual page; `line` is 1-based."""

    line: int
    name: str
    fields: tuple[str, ...]


def parse(text: str, kind: Kind) -> tuple[Account, ...]:
    """Return the accounts of `text`. Raises ParseError, with the line, on a wrong number of fields."""
    found = []
    for number, line in enumerate(physical_lines.split(text), 1):
        fields = _fields(line, number, kind)
        if fields:
            found.append(Account(number, fields[0], fields))
    return tuple(found)


def lock_password(shadow_text: str, user: str, *, marker: str = "!", keep_hash: bool = False) -> str:
    """Return `shadow_text` with the password field of `user` made `marker`; unchanged without such a user.

    `marker` is something no password hashes to: `!`, `*`, waagent's `*LOCK*`. With `keep_hash` it is put
    before the hash instead (as `passwd -l` does), unless the field begins with `!` or `*` already.
    """
    if not marker.startswith(("!", "*")) or any(c in marker for c in ":\n"):
        raise ValueError(f"not a marker of a locked password: {marker!r}")

    def locked(fields: tuple[str, ...]) -> tuple[str, ...]:
        if fields[0] != user or (keep_hash and fields[1].startswith(("!", "*"))):
            return fields
        return (fields[0], marker + fields[1] if keep_hash else marker, *fields[2:])

    return _mapped(shadow_text, Kind.SHADOW, locked)


def remove_user(text: str, user: str, kind: Kind = Kind.PASSWD) -> str:
    """Return `text` without the lines of `user` (or, for groups, of the group of that name)."""
    return _mapped(text, kind, lambda fields: None if fields[0] == user else fields)


def remove_member(text: str, user: str, kind: Kind = Kind.GROUP) -> str:
    """Return the group or gshadow text without `user` as a member, in gshadow nor as an administrator."""
    lists = (2, 3) if kind is Kind.GSHADOW else (3,)

    def without(fields: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_dropped(value, user) if index in lists else value for index, value in enumerate(fields))

    return _mapped(text, kind, without)


def _dropped(members: str, user: str) -> str:
    names = members.split(",")
    return ",".join(name for name in names if name.strip() != user) if user else members


def _mapped(text: str, kind: Kind, fn: Callable[[tuple[str, ...]], tuple[str, ...] | None]) -> str:
    """Return `text` with each account's fields as `fn` gives them; None drops the line."""
    lines: list[str] = []
    for number, line in enumerate(physical_lines.split(text), 1):
        fields = _fields(line, number, kind)
        new = fn(fields) if fields else fields
        if new is not None:
            lines.append(":".join(new) + physical_lines.body_and_end(line)[1] if new != fields else line)
    return "".join(lines)


def _fields(line: str, number: int, kind: Kind) -> tuple[str, ...]:
    """Return the fields of a line; none if it is blank, a comment or a NIS line."""
    body = physical_lines.body_and_end(line)[0]
    if not body.strip() or body.lstrip().startswith(("#", "+", "-")):
        return ()
    fields = tuple(body.split(":"))
    counts = _FIELD_COUNTS[kind]
    if len(fields) not in counts or not fields[0]:
        expected = " or ".join(map(str, counts))
        raise ParseError(f"{kind.value}: {len(fields)} fields, {expected} needed", line=number)
    return fields
