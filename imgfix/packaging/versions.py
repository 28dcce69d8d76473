"""versions: how dpkg and rpm order them, as keys that sort."""

from __future__ import annotations

import re
from typing import TypeAlias

DebKey: TypeAlias = tuple["_Number", "tuple[_Piece, ...]", "tuple[_Piece, ...]"]
RpmKey: TypeAlias = tuple[tuple[int, int, str], ...]
_Number: TypeAlias = tuple[int, str]
_Piece: TypeAlias = tuple[tuple[int, ...], _Number]


def deb_key(version: str) -> DebKey:
    """Return a key that sorts as `dpkg --compare-versions` does (deb-version(7)); a missing epoch is 0."""
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isdecimal()):
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return _number(epoch), _pieces(upstream), _pieces(revision)


def _pieces(text: str) -> tuple[_Piece, ...]:
    """Cut into pairs of what is no number and a number; a missing number is 0, and so is a missing text."""
    found = [
        ((*map(_rank, word), 0), _number(number))
        for word, number in re.findall(r"([^0-9]*)([0-9]*)", text or "0")
        if word or number
    ]
    return (*found, ((0,), _number("")))


def _number(digits: str) -> _Number:
    """Return what sorts as the number does; Python reads no integers of any length from a stranger's text."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _rank(char: str) -> int:
    """A tilde sorts before the end, which is 0; letters sort before everything else."""
    if char == "~":
        return -1
    return ord(char) if char.isascii() and char.isalpha() else ord(char) + 256


def rpm_key(text: str) -> RpmKey:
    """Return a key for one of epoch, version and release that sorts as rpm does.

    https://github.com/rpm-software-management/rpm/blob/master/rpmio/rpmvercmp.cc
    """
    return (*(_rpm_rank(token) for token in re.findall(r"~|\^|[0-9]+|[A-Za-z]+", text)), (1, 0, ""))


def _rpm_rank(token: str) -> tuple[int, int, str]:
    """In their order: tilde, the end (1), caret, letters, numbers."""
    if token.isdecimal():
        return 4, *_number(token)
    return {"~": 0, "^": 2}.get(token, 3), 0, token


def parse_evr(text: str) -> tuple[str, str, str]:
    """Cut [EPOCH:]VERSION[-RELEASE]; the epoch and the release are empty where they are missing."""
    epoch, colon, rest = text.partition(":")
    if not (colon and (epoch.isdecimal() or not epoch)):
        epoch, rest = "", text
    elif not epoch:
        epoch = "0"
    version, dash, release = rest.rpartition("-")
    return (epoch, version, release) if dash else (epoch, rest, "")


def evr_key(text: str) -> tuple[RpmKey, RpmKey, RpmKey]:
    """Return a key for a whole [EPOCH:]VERSION[-RELEASE]; a missing epoch is 0."""
    epoch, version, release = parse_evr(text)
    return rpm_key(epoch or "0"), rpm_key(version), rpm_key(release)


def without_epoch(version: str) -> str:
    """Return `version` without the number before the first colon."""
    epoch, colon, rest = version.partition(":")
    return rest if colon and epoch.isdecimal() else version
