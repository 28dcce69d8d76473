"""What looks secret and stays in the image: told, never shown and never removed (R9). Generalized mode only.

A specialized image is this very machine, with its secrets. Which files are looked at is in secret_places.
"""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.profile_tables import Secrets as Settings
from imgfix.steps.edit import matching, parsing
from imgfix.steps.generalize import homes
from imgfix.steps.secret_places import PLACES, Place
from imgfix.textedit import accounts, crypttab
from imgfix.tree import Kind, Tree

CRYPTTAB = "/etc/crypttab"
SHADOW = "/etc/shadow"

#: A larger file (bytes) is no key and no configuration; it is not read.
_MAX_BYTES = 64 << 10
#: Files of one kind that are read at most, and that are named at most.
_MAX_FILES, _NAMED = 200, 8


class Secrets:
    """Looks where secrets usually are, and gives advice on each kind that is found."""

    name = "secrets"
    requirements = ("R9",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield advice, or one Noop."""
        settings = profile.secrets
        if not profile.generalized or not settings.report:
            yield Noop(
                "a specialized image keeps its secrets" if settings.report else "the profile asks for none"
            )
            return
        advice = [*_told(tree, settings), *_passwords(tree)]
        yield from advice or [Noop("nothing in the usual places looks secret")]


def _told(tree: Tree, settings: Settings) -> Iterator[Decision]:
    own = Place("what the profile lists", system=settings.places)
    expected: list[str] = []
    seen: set[str] = set()
    for place in (*PLACES, own):
        found = [path for path in _found(tree, place) if path not in seen]
        seen |= set(found)
        expected += [path for path in found if _is_expected(path, settings)]
        told = [path for path in found if not _is_expected(path, settings)]
        if told:
            yield Advice(f"{place.what} stay: {_listed(told)}")
    if expected:
        yield Advice(f"keys that the installation made are the same in every VM: {_listed(expected)}")


def _is_expected(path: str, settings: Settings) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in settings.expected)


def _listed(paths: list[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _found(tree: Tree, place: Place) -> list[str]:
    patterns = [f"{glob.escape(home)}/{name}" for name in place.homes for home in homes(tree)]
    paths = matching(tree, (*place.system, *patterns))
    if "encrypted" in place.what:
        paths += [path for path in _key_files(tree) if path not in paths]
    found = []
    for path in paths:
        if not 0 < _size(tree, path) <= _MAX_BYTES:
            continue
        if place.mark is None or place.mark.search(files.read(tree, path)):
            found.append(path)
        if len(found) == _MAX_FILES:
            break
    return found


def _size(tree: Tree, path: str) -> int:
    """Return the size of the regular file that `path` leads to, else 0."""
    try:
        entry = files.stat(tree, path)
    except GuestError:  # a link that leads in a circle
        return 0
    return entry.size if entry is not None and entry.kind is Kind.FILE else 0


def _key_files(tree: Tree) -> list[str]:
    """Return the key files that crypttab names in the guest itself."""
    if not files.is_file(tree, CRYPTTAB):
        return []
    with parsing(CRYPTTAB):
        entries = [line.entry for line in crypttab.parse(files.read_text(tree, CRYPTTAB)) if line.entry]
    return [e.key for e in entries if e.key.startswith("/") and not e.key.startswith("/dev/")]


def _passwords(tree: Tree) -> Iterator[Decision]:
    if not files.is_file(tree, SHADOW):
        return
    with parsing(SHADOW):
        found = accounts.parse(files.read_text(tree, SHADOW), accounts.Kind.SHADOW)
    names = [account.name for account in found if not account.fields[1].startswith(("!", "*"))]
    able = [name for name in names if name]
    if able:
        yield Advice(f"accounts that may log in by a password stay: {_listed(able)}")
