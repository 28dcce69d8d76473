"""Accounts: removed or locked as the profile lists them (R9, R24). Generalized mode only."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop, Remove
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.edit import edited, parsing, unfollowed
from imgfix.textedit import accounts
from imgfix.textedit.accounts import Account, Kind
from imgfix.tree import Kind as EntryKind
from imgfix.tree import Tree

_FILES = (
    ("/etc/passwd", Kind.PASSWD),
    ("/etc/shadow", Kind.SHADOW),
    ("/etc/group", Kind.GROUP),
    ("/etc/gshadow", Kind.GSHADOW),
)
_OWNED = (
    "/var/spool/mail/{user}",
    "/var/mail/{user}",
    "/var/spool/cron/{user}",
    "/var/spool/cron/crontabs/{user}",
)


class Users:
    """Removes accounts with their homes, and locks passwords."""

    name = "users"
    requirements = ("R9", "R24")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield edits of the account files and removals of homes."""
        if not profile.generalized:
            yield Noop("a specialized image keeps its accounts")
            return
        for user in profile.generalize.users:
            yield from _remove(tree, user)
        if files.is_file(tree, "/etc/shadow"):
            names = profile.generalize.lock
            yield edited(
                tree,
                "/etc/shadow",
                lambda text: _locked(text, names),
                reason=f"no password for {', '.join(names)}",
                settled="the passwords are locked",
            )
        else:
            yield Noop("no /etc/shadow, so no password to lock")


def _locked(text: str, names: tuple[str, ...]) -> str:
    """A field that begins with ! or * is locked already, whatever follows it."""
    for account in accounts.parse(text, Kind.SHADOW):
        if account.name in names and not account.fields[1].startswith(("!", "*")):
            text = accounts.lock_password(text, account.name, marker="*LOCK*")
    return text


def _remove(tree: Tree, user: str) -> Iterator[Decision]:
    with parsing("/etc/passwd"):
        everybody = accounts.parse(files.read_text(tree, "/etc/passwd"), Kind.PASSWD)
    found = [account for account in everybody if account.name == user]
    if not found:
        yield Noop(f"{user}: no such account")
        return
    if found[0].fields[2] == "0":
        raise GuestError(
            f"/etc/passwd:{found[0].line}: {user} is root (uid 0) and cannot be removed",
            hint="take it out of generalize.users; generalize.lock locks its password",
        )
    others = [account for account in everybody if account.name != user]
    yield from _home(tree, found[0], others)
    for path in (p.format(user=user) for p in _OWNED):
        if files.exists(tree, path):
            yield Remove(path, f"belongs to the removed account {user}")
    keep_group = _needs_group(tree, found[0], others)
    for path, kind in _FILES:
        if files.is_file(tree, path):
            yield edited(
                tree,
                path,
                lambda text, k=kind: _without(text, user, k, keep_group),  # type: ignore[misc]
                reason=f"account {user} is removed",
                settled=f"has no {user}",
            )


def _home(tree: Tree, account: Account, others: list[Account]) -> Iterator[Decision]:
    """Remove a home as `userdel -r` does: only if it is the account's own, and nobody else lives in it.

    Service accounts live in /usr/sbin, /var/www or / (check_home in shadow-utils' userdel.c).
    """
    home = posixpath.normpath(account.fields[5]) if account.fields[5].startswith("/") else ""
    if not home or not files.is_dir(tree, home):
        return
    real = files.resolve(tree, home)
    owner = tree.lstat(real)
    shared = [o.name for o in others if _is_within(files.resolve(tree, o.fields[5] or "/"), real)]
    if owner is None or str(owner.uid) != account.fields[2]:
        yield Advice(f"{home}: the home of {account.name} is not its own, so it stays")
    elif shared:
        yield Advice(f"{home}: the home of {account.name} is that of {', '.join(shared)} too, so it stays")
    else:
        entry = unfollowed(tree, home)
        if entry is not None and entry.kind is EntryKind.LINK:
            yield Remove(home, f"home of the removed account {account.name}")
        yield Remove(real, f"home of the removed account {account.name}")


def _is_within(path: str, folder: str) -> bool:
    return (path + "/").startswith(folder.rstrip("/") + "/")


def _needs_group(tree: Tree, account: Account, others: list[Account]) -> bool:
    """Tell whether the group named like `account` is more than its own, as userdel(8) asks."""
    if not files.is_file(tree, "/etc/group"):
        return False
    with parsing("/etc/group"):
        groups = accounts.parse(files.read_text(tree, "/etc/group"), Kind.GROUP)
    for group in (g for g in groups if g.name == account.name):
        members = {m for m in group.fields[3].split(",") if m} - {account.name}
        if (
            members
            or group.fields[2] != account.fields[3]
            or any(o.fields[3] == group.fields[2] for o in others)
        ):
            return True
    return False


def _without(text: str, user: str, kind: Kind, keep_group: bool) -> str:
    if kind not in (Kind.GROUP, Kind.GSHADOW):
        return accounts.remove_user(text, user, kind)
    text = accounts.remove_member(text, user, kind)
    return text if keep_group else accounts.remove_user(text, user, kind)
