"""Accounts: removed or locked as the profile lists them (R9, R24). Generalized mode only."""

from __future__ import annotations

import glob
import posixpath
import re
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop, Remove, WriteFile
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.edit import edited, parsing, removed, unfollowed
from imgfix.textedit import accounts, sudoers
from imgfix.textedit.accounts import Account, Kind
from imgfix.tree import Kind as EntryKind
from imgfix.tree import Tree

_FILES = (
    ("/etc/passwd", Kind.PASSWD),
    ("/etc/shadow", Kind.SHADOW),
    ("/etc/group", Kind.GROUP),
    ("/etc/gshadow", Kind.GSHADOW),
    ("/etc/subuid", Kind.SUBID),
    ("/etc/subgid", Kind.SUBID),
)
SUDOERS = "/etc/sudoers"
SUDOERS_D = "/etc/sudoers.d/*"
#: What Azure's agent and cloud-init keep of the provisioning data.
OVF_ENV = "/var/lib/waagent/ovf-env.xml"
LOGIN_DEFS = "/etc/login.defs"
_OWNED = (
    "/var/spool/mail/{user}",
    "/var/mail/{user}",
    "/var/spool/cron/{user}",
    "/var/spool/cron/crontabs/{user}",
    "/var/spool/cron/tabs/{user}",
    "/var/lib/systemd/linger/{user}",
    "/var/lib/AccountsService/users/{user}",
    "/var/lib/AccountsService/icons/{user}",
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
        provisioned = _provisioned(tree) if profile.generalize.provisioned_user else ()
        for user in dict.fromkeys((*profile.generalize.users, *provisioned)):
            yield from _remove(tree, user, profile.generalize.user_files)
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


def _provisioned(tree: Tree) -> tuple[str, ...]:
    """Return the account that Azure's agent made: not root, nor one of the system's, which it does not remove either.

    `del_user` and `is_sys_user` in https://github.com/Azure/WALinuxAgent/tree/master/azurelinuxagent
    """
    if not files.is_file(tree, OVF_ENV) or not files.is_file(tree, "/etc/passwd"):
        return ()
    found = re.search(r"<(?:\w+:)?UserName>\s*([^<\s]+)\s*</", files.read_text(tree, OVF_ENV))
    with parsing("/etc/passwd"):
        everybody = accounts.parse(files.read_text(tree, "/etc/passwd"), Kind.PASSWD)
    lowest = _lowest_uid(tree)
    own = {a.name for a in everybody if a.fields[2].isdecimal() and int(a.fields[2]) >= lowest}
    return (found[1],) if found and found[1] in own else ()


def _lowest_uid(tree: Tree) -> int:
    """Return the number from which on accounts are people's: 500 on Enterprise Linux 6, 1000 since (login.defs(5))."""
    text = files.read_text(tree, LOGIN_DEFS) if files.is_file(tree, LOGIN_DEFS) else ""
    found = re.search(r"^UID_MIN\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 1000


def _locked(text: str, names: tuple[str, ...]) -> str:
    """A field that begins with ! or * is locked already, whatever follows it."""
    for account in accounts.parse(text, Kind.SHADOW):
        if account.name in names and not account.fields[1].startswith(("!", "*")):
            text = accounts.lock_password(text, account.name, marker="*LOCK*")
    return text


def _remove(tree: Tree, user: str, user_files: tuple[str, ...]) -> Iterator[Decision]:
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
    yield from _home(tree, found[0], others, user_files)
    yield from _sudoers(tree, user)
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


def _sudoers(tree: Tree, user: str) -> Iterator[Decision]:
    """Drop the rules for the account alone, and a file that says nothing else; tell where it is named besides."""
    for path in (p for p in (SUDOERS, *files.glob(tree, SUDOERS_D)) if files.is_file(tree, p)):
        text = files.read_text(tree, path)
        left = sudoers.without_user(text, user)
        if left != text and path != SUDOERS and sudoers.is_empty(left):
            yield Remove(path, f"rules for the removed account {user}")
        elif left != text:
            yield WriteFile(
                path, left.encode("utf-8", "surrogateescape"), f"rules for the removed account {user}"
            )
        if sudoers.names(left, user):
            yield Advice(f"{path} still names the removed account {user}, beside others or in an alias")


def _home(
    tree: Tree, account: Account, others: list[Account], user_files: tuple[str, ...]
) -> Iterator[Decision]:
    """Remove a home as `userdel -r` does: only if it is the account's own, and nobody else lives in it.

    Service accounts live in /usr/sbin, /var/www or / (check_home in shadow-utils' userdel.c).
    """
    home = posixpath.normpath(account.fields[5]) if account.fields[5].startswith("/") else ""
    if not home or not files.is_dir(tree, home):
        return
    real = files.resolve(tree, home)
    owner = tree.lstat(real)
    shared = [o.name for o in others if _is_within(files.resolve(tree, o.fields[5] or "/"), real)]
    is_own = owner is not None and str(owner.uid) == account.fields[2]
    if shared or not is_own:
        whose = f"that of {', '.join(shared)} too" if is_own else "not its own"
        yield Advice(f"{home}: the home of {account.name} is {whose}, so it stays")
        patterns = [f"{glob.escape(home)}/{name}" for name in user_files]
        yield from removed(tree, patterns, reason=f"a history of the removed account {account.name}")
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
