"""Is a profile meant for this guest, and can the guest's disk be changed at all?"""

from __future__ import annotations

import re

from imgfix.errors import GuestError, ProfileError
from imgfix.facts.model import Distro, Facts, Storage
from imgfix.profile import Profile

_CONSTRAINT = re.compile(r"\s*(>=|<=|==|<|>)\s*([0-9]+(?:\.[0-9]+)*)\s*")


def require_suitable(profile: Profile, facts: Facts) -> None:
    """Raise GuestError if `profile` is for another family or version than the guest's."""
    match = profile.match
    if match is None:
        return
    distro = facts.distro
    if distro.family != match.family:
        raise GuestError(
            f"profile {profile.name} is for the {match.family} family; this guest is {distro.pretty_name} "
            f"(ID {distro.id}, family {distro.family})",
            hint="`imgfix profile list` shows the profiles",
        )
    for operator, number in _constraints(match.version, profile.name):
        if not _holds(distro.version, operator, number):
            raise GuestError(
                f"profile {profile.name} is for versions {match.version}; this guest is {distro.pretty_name} "
                f"(VERSION_ID {distro.version or 'unknown'})",
                hint=_hint(distro),
            )


def _hint(distro: Distro) -> str:
    """Enterprise Linux 6.0 to 6.3 is refused for a reason of its own (R12)."""
    if (
        distro.family == "rhel"
        and _holds(distro.version, ">=", "6.0")
        and not _holds(distro.version, ">=", "6.4")
    ):
        return (
            "Enterprise Linux 6.0 to 6.3 has no Hyper-V drivers: update the guest to 6.4 or later, or install "
            "Microsoft's Linux Integration Services (LIS) in it and set `match` in a profile of your own"
        )
    return "`imgfix profile list` shows the profiles"


def require_usable(storage: Storage) -> None:
    """Raise GuestError if the guest sleeps, or its root is read-only by design."""
    if storage.hibernated:
        raise GuestError(
            f"the machine was hibernated: {', '.join(storage.hibernated)} holds its memory, which takes the file "
            "systems for what they were then; changing them would destroy data when it wakes up",
            hint="start the virtual machine once and shut it down; then export the disk again",
        )
    if storage.sealed:
        raise GuestError(
            "the root is a read-only btrfs subvolume: such a system (MicroOS, transactional-update) takes changes "
            "only as new snapshots of itself",
            hint="imgfix does not prepare such systems; use its maker's image for Azure",
        )


def _constraints(text: str, name: str) -> list[tuple[str, str]]:
    found = [(part, _CONSTRAINT.fullmatch(part)) for part in text.split(",") if part.strip()]
    for part, match in found:
        if match is None:
            raise ProfileError(f"profile {name}: match.version: {part!r} is not of the form '>=7'")
    return [(match[1], match[2]) for _, match in found if match]


def _holds(version: str, operator: str, number: str) -> bool:
    """Compare as numbers; a guest without a version (Debian testing) counts as newest."""
    if not version:
        return operator in (">", ">=")
    left, right = ([int(n) for n in re.findall(r"\d+", v)] for v in (version, number))
    left = [*left, *[0] * len(right)][: len(right)]  # 9.4 is not beyond "<=9", and 9 is no less than "9.0"
    return {
        ">=": left >= right,
        "<=": left <= right,
        "==": left == right,
        "<": left < right,
        ">": left > right,
    }[operator]
