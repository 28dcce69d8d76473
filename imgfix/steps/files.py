"""Files that the profile gives to the guest, before all other steps, so that those see them."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Link, Noop, Remove
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.profile_tables import File
from imgfix.steps.edit import parsing, placed, unfollowed
from imgfix.textedit import accounts
from imgfix.tree import Kind, Tree

#: Where names of owners become numbers: the file, its kind, and what its accounts are.
_PASSWD = ("/etc/passwd", accounts.Kind.PASSWD, "account")
_GROUP = ("/etc/group", accounts.Kind.GROUP, "group")


class Files:
    """Puts the profile's files in place, in both modes."""

    name = "files"
    requirements = ()

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield what each file of the profile lacks, or a Noop."""
        found = {path: file for path, file in profile.files.items() if file is not None}
        if not found:
            yield Noop("the profile has no files for the guest")
        for path, file in found.items():
            yield from _file(tree, path, file)


def _file(tree: Tree, path: str, file: File) -> Iterator[Decision]:
    reason = "a file of the profile's"
    entry = unfollowed(tree, path)
    if entry is not None and entry.kind is Kind.DIRECTORY:
        raise GuestError(
            f"files: {path} is a folder in the guest, and the profile has a file there",
            hint="name the file within the folder, or remove the folder by leftovers.remove",
        )
    if file.link is not None:
        if entry is not None and entry.kind is Kind.LINK and entry.target == file.link:
            yield Noop(f"{path}: as wanted")
        else:
            yield Link(path, file.link, reason)
        return
    if entry is not None and entry.kind is not Kind.FILE:
        # A file that is written through a link would be another file: /etc/motd may lead to /run, a unit to /dev/null.
        yield Remove(path, f"{reason}, where something else is")
    uid, gid = _owner(tree, path, file.owner)
    yield from placed(tree, path, file.data, mode=file.permissions, uid=uid, gid=gid, reason=reason)


def _owner(tree: Tree, path: str, owner: str) -> tuple[int, int]:
    """Return the numbers of `user` or `user:group`; a user alone brings its own group along."""
    user, _, group = owner.partition(":")
    uid, own = _number(tree, path, user, *_PASSWD)
    gid, _ = _number(tree, path, group, *_GROUP) if group else (own, None)
    if gid is None:
        raise GuestError(
            f"files: {path} is to belong to {owner}, and a user given as a number has no group",
            hint=f"give both: owner: '{owner}:0'",
        )
    return uid, gid


def _number(
    tree: Tree, path: str, name: str, source: str, kind: accounts.Kind, what: str
) -> tuple[int, int | None]:
    """Return the number of an account or group, and an account's own group."""
    if name.isdecimal():
        return int(name), None
    if name == "root":  # also where the guest has no such file
        return 0, 0
    with parsing(source):
        found = accounts.parse(files.read_text(tree, source), kind) if files.is_file(tree, source) else ()
    for account in found:
        if account.name == name:
            return int(account.fields[2]), int(account.fields[3]) if kind is accounts.Kind.PASSWD else None
    raise GuestError(
        f"files: {path} is to belong to {name}, and {source} has no such {what}",
        hint="name one that the guest has when imgfix begins, or give its number",
    )
