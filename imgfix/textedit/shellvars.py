"""Variable assignments in files that a POSIX shell sources: /etc/default/grub, /etc/sysconfig/*, os-release.

Grammar: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html (2.2 quoting, 2.9.1
assignments), and bash's `NAME+=value`. The last assignment in the text wins; conditions around it are not
evaluated.

A value is what is left after quotes are taken off. Expansions (`$VAR`, `$(command)`) are not carried out:
they stand in the value as written. When such a value is written back, its expansions stay live, while any
other dollar sign is escaped: an edit never brings in a new expansion. A CR before LF counts as part of the
line ending.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines
from imgfix.textedit.shell_words import Assignment, Piece, scan

__all__ = ["Assignment", "assignments", "get", "map_value", "set_value"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE = re.compile(r"[A-Za-z0-9_./:,@%+=-]*")
_ENDS_IN_NAME = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")


def assignments(text: str) -> tuple[Assignment, ...]:
    """Return all assignments of the shell itself, in order; not those of a subshell or of one command.

    Raises ParseError, with the line, on a quote or an expansion that is not closed.
    """
    return scan(text)


def get(text: str, name: str) -> str | None:
    """Return the value `name` has at the end of `text`, appended parts included; None if never assigned."""
    chain = _chain(scan(text), name)
    return "".join(one.value for one in chain) if chain else None


def set_value(text: str, name: str, value: str) -> str:
    """Return `text` so that `get` gives `value` for `name`: the last assignment edited, else a line appended.

    Quotes stay of the kind they are where they can hold the value. A last `NAME+=` is shortened or extended
    if what comes before it fits, else it becomes a plain assignment. Raises ValueError on what is no name
    or value of the shell, ParseError if the text cannot be edited safely.
    """
    if not _NAME.fullmatch(name) or "\0" in value:
        raise ValueError(f"not a shell assignment: {name}={value!r}")
    chain = _chain(scan(text), name)
    if not chain:
        return _checked(_appended(text, name, value), name, value)
    if "".join(one.value for one in chain) == value:
        return text
    last, before = chain[-1], "".join(one.value for one in chain[:-1])
    if last.append and not value.startswith(before):
        # Cut the plus sign out: `NAME+=...` becomes `NAME=...`, which is then in force alone.
        new = text[: last.start - 2] + "=" + _written(last, value) + text[last.end :]
    else:
        new = (
            text[: last.start]
            + _written(last, value[len(before) :] if last.append else value)
            + text[last.end :]
        )
    return _checked(new, name, value)


def map_value(text: str, name: str, fn: Callable[[str], str]) -> str:
    """Return `text` with `fn` applied to the value of every assignment of `name`, each by itself.

    Raises ParseError if an edit would tear an expansion that holds blanks, as `$(cmd a b)`.
    """
    found = scan(text)
    new = text
    for one in reversed([one for one in found if one.name == name]):
        value = fn(one.value)
        if value != one.value:
            _check_whole(one, value)
            new = new[: one.start] + _written(one, value) + new[one.end :]
    expected = [(one.name, fn(one.value) if one.name == name else one.value) for one in found]
    if new != text and [(one.name, one.value) for one in scan(new)] != expected:
        raise ParseError(f"cannot edit {name} safely in this shell text")
    return new


def _chain(found: tuple[Assignment, ...], name: str) -> tuple[Assignment, ...]:
    """Return what makes up the final value of `name`: the last plain assignment and those appended to it."""
    mine = [one for one in found if one.name == name]
    plain = [index for index, one in enumerate(mine) if not one.append]
    return tuple(mine[plain[-1] :] if plain else mine)


def _appended(text: str, name: str, value: str) -> str:
    end = physical_lines.newline(text)
    style = "" if value and _BARE.fullmatch(value) else '"'
    line = f"{name}={_encoded((Piece(value, live=False, quoted=False),), style)}"
    return "".join(physical_lines.insert(physical_lines.split(text), len(text), line, end))


def _written(one: Assignment, value: str) -> str:
    """Return `value` as shell source to stand in the place of the value of `one`."""
    if one.quote == "(":
        raise ParseError(f"{one.name} is an array, which cannot be edited", line=one.line)
    pieces = _split_live(one, value)
    live = [piece for piece in pieces if piece.live]
    style = '"'
    if (one.quote == "'" and "'" not in value) or (one.quote == "" and _BARE.fullmatch(value)):
        style = one.quote
    for piece in live:
        original = next(old for old in one.pieces if old.live and old.text == piece.text)
        # `${x:-'a'}` and "${x:-'a'}" differ: quotes inside mean another thing inside quotes.
        if not original.quoted and any(c in piece.text for c in "'\"\\~"):
            raise ParseError(f"cannot quote {piece.text} in {one.name}", line=one.line)
    return _encoded(pieces, style)


def _split_live(one: Assignment, value: str) -> tuple[Piece, ...]:
    """Cut `value` into literals and the expansions that the old value of `one` already had.

    Raises ParseError if the old value has the same text both live and as a literal: which is which is lost.
    """
    if _cut(one, one.value) != _joined(one.pieces):
        raise ParseError(f"{one.name} has literal and live dollar signs that read the same", line=one.line)
    return tuple(Piece(text, live, quoted=True) for text, live in _cut(one, value))


def _cut(one: Assignment, value: str) -> list[tuple[str, bool]]:
    expansions = sorted({piece.text for piece in one.pieces if piece.live}, key=len, reverse=True)
    if not expansions:
        return _joined((Piece(value, live=False, quoted=True),))
    # `$B` followed by `x` would be `$Bx`: not an occurrence of `$B`.
    patterns = [re.escape(e) + ("(?![A-Za-z0-9_])" if _ENDS_IN_NAME.fullmatch(e) else "") for e in expansions]
    parts = re.split(f"({'|'.join(patterns)})", value)
    return _joined(tuple(Piece(part, live=index % 2 == 1, quoted=True) for index, part in enumerate(parts)))


def _joined(pieces: tuple[Piece, ...]) -> list[tuple[str, bool]]:
    """Return pieces as (text, live), neighbouring literals made one, empty ones dropped."""
    result: list[tuple[str, bool]] = []
    for piece in pieces:
        if not piece.live and result and not result[-1][1]:
            result[-1] = (result[-1][0] + piece.text, False)
        elif piece.text:
            result.append((piece.text, piece.live))
    return result


def _encoded(pieces: tuple[Piece, ...], style: str) -> str:
    """Return pieces as one shell word in the given quotes; only double quotes can hold everything."""
    if style != '"':
        return style + "".join(piece.text for piece in pieces) + style
    inner = "".join(piece.text if piece.live else _escaped(piece.text) for piece in pieces)
    return f'"{inner}"'


def _escaped(literal: str) -> str:
    r"""Return `literal` for double quotes; a backslash that is one anyway, as in `\.`, stays single."""
    return re.sub(r'[$`"]|\\(?=[$`"\\\n]|$)', lambda match: "\\" + match[0], literal)


def _check_whole(one: Assignment, value: str) -> None:
    for piece in one.pieces:
        if piece.live and any(c.isspace() for c in piece.text) and piece.text not in value:
            raise ParseError(f"an edit of {one.name} would change {piece.text}", line=one.line)


def _checked(text: str, name: str, value: str) -> str:
    """Return `text` if it reads back as meant; a line added inside a here-document does not."""
    if get(text, name) != value:
        raise ParseError(f"cannot set {name} safely in this shell text")
    return text
