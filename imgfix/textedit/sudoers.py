"""sudoers: which rules are about one account.

Grammar: sudoers(5), https://www.sudo.ws/docs/man/sudoers.man/#SUDOERS_FILE_FORMAT: a backslash at the end continues a
line; `#` begins a comment, but not before digits (a user by number), and `#include` names a file; a rule begins with a
list of users, `Defaults:` with the users it is for; everything else begins with `Defaults`, `@` or the name of a kind
of alias. Only whole lines are dropped: a rule that names others too stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgfix.textedit import physical_lines

_DEFAULTS = re.compile(r"Defaults\s*:\s*")
_NO_RULE = re.compile(r"(?:Defaults|User_Alias|Runas_Alias|Host_Alias|Cmnd_Alias|Cmd_Alias)\b|@include")
#: The list of users of a rule ends where the next word does not go on with a comma.
_USERS = re.compile(r"""(?:[^\s,"\\]|\\.|"[^"]*")+(?:\s*,\s*(?:[^\s,"\\]|\\.|"[^"]*")+)*""")


def without_user(text: str, user: str) -> str:
    """Return `text` without the rules and defaults that are for `user` alone."""
    return "".join(lines for lines, _, users in _logical(text) if users != {user})


def names(text: str, user: str) -> bool:
    """Tell whether `text` names `user` outside of comments, be it in a rule for others too or in an alias."""
    word = re.compile(rf"(?<![\w.%+/-]){re.escape(user)}(?![\w.-])")
    return any(word.search(body) for _, body, _ in _logical(text))


def is_empty(text: str) -> bool:
    """Tell whether `text` says nothing: comments and blank lines alone."""
    return not any(body for _, body, _ in _logical(text))


def _logical(text: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield each logical line as it is written, as it is read, and the users that it is for."""
    lines = ""
    for line in physical_lines.split(text):
        lines += line
        if line.rstrip("\r\n").endswith("\\"):
            continue
        body = _body(lines)
        yield lines, body, _users(body)
        lines = ""
    if lines:
        yield lines, _body(lines), _users(_body(lines))


def _body(lines: str) -> str:
    joined = re.sub(r"\\\r?\n", " ", lines)
    if re.match(r"\s*#include", joined):
        return joined.strip()
    return re.sub(r"(?<!\\)#(?!\d).*", "", joined).strip()


def _users(body: str) -> set[str]:
    if defaults := _DEFAULTS.match(body):
        body = body[defaults.end() :]
    elif not body or _NO_RULE.match(body) or body.startswith("#include"):
        return set()
    found = _USERS.match(body)
    return {name.strip().strip('"') for name in found[0].split(",")} if found else set()
