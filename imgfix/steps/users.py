"""Accounts: removed or locked as the profile lists them (R9, R24). Generalized mode only."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Noop, Remove
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.edit import edited, parsing
from imgfix.textedit import accounts
from imgfix.textedit.accounts import Kind
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


def _locked(text: str, names: tuple[str, ...]) -> str:
    """A field that begins with ! or * is locked already, whatever follows it."""
    for account in accounts.parse(text, Kind.SHADOW):
        if account.name in names and not account.fields[1].startswith(("!", "*")):
            text = accounts.lock_password(text, account.name, marker="*LOCK*")
    return text


def _remove(tree: Tree, user: str) -> Iterator[Decision]:
    with parsing("/etc/passwd"):
        found = [
            a for a in accounts.parse(files.read_text(tree, "/etc/passwd"), Kind.PASSWD) if a.name == user
        ]
    if not found:
        yield Noop(f"{user}: no such account")
        return
    if found[0].fields[2] == "0":
        raise GuestError(
            f"/etc/passwd:{found[0].line}: {user} is root (uid 0) and cannot be removed",
            hint="take it out of generalize.users; generalize.lock locks its password",
        )
    home = found[0].fields[5].rstrip("/")
    if home.count("/") >= 2 and files.is_dir(tree, home):
        yield Remove(home, f"home of the removed account {user}")
    for path in (p.format(user=user) for p in _OWNED):
        if files.exists(tree, path):
            yield Remove(path, f"belongs to the removed account {user}")
    for path, kind in _FILES:
        if files.is_file(tree, path):
            yield edited(
                tree,
                path,
                lambda text, k=kind: _without(text, user, k),  # type: ignore[misc]
                reason=f"account {user} is removed",
                settled=f"has no {user}",
            )


def _without(text: str, user: str, kind: Kind) -> str:
    if kind in (Kind.GROUP, Kind.GSHADOW):
        text = accounts.remove_member(text, user, kind)
    return accounts.remove_user(text, user, kind)
