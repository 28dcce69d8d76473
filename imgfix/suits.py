"""Is a profile meant for this guest, which one is, and can the guest's disk be changed at all?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from imgfix.disk.size import GIB, MIB, Limits, check_size
from imgfix.disk.source import Source
from imgfix.errors import GuestError, ProfileError
from imgfix.facts.model import Distro, Storage
from imgfix.profile import Disk, Profile

_CONSTRAINT = re.compile(r"\s*(>=|<=|==|<|>)\s*([0-9]+(?:\.[0-9]+)*)\s*")
_LIST = "`imgfix profile list` shows the profiles"


@dataclass(frozen=True, slots=True)
class Auto:
    """The wish for the one of `candidates` that suits the guest."""

    candidates: tuple[Profile, ...]

    @property
    def disk(self) -> Disk:
        """Limits of the disk, which are known before the guest is: those that the candidates share."""
        return self.candidates[0].disk


def choose(wish: Profile | Auto, distro: Distro) -> Profile:
    """Return the profile for a guest: the wished one, or of several that suit it the most specific.

    Raises GuestError where the wished one is for other guests, or none suits.
    """
    if isinstance(wish, Profile):
        require_suitable(wish, distro)
        return wish
    suiting = [p for p in wish.candidates if p.match is not None and _misfit(p, distro) is None]
    if not suiting:
        known = ", ".join(f"{p.name} ({_guests(p)})" for p in wish.candidates if p.match is not None)
        raise GuestError(
            f"no profile is for this guest, {_describe(distro)}; there are: {known}",
            hint=_hint(
                distro,
                "if one of them nearly fits, write a profile that extends it, with a `match` of its own, and name it",
            ),
        )
    return max(suiting, key=lambda profile: _specificity(profile, distro))


def require_suitable(profile: Profile, distro: Distro) -> None:
    """Raise GuestError if `profile` is for another family or version than the guest's."""
    if problem := _misfit(profile, distro):
        raise GuestError(problem, hint=_hint(distro, _LIST))


def _misfit(profile: Profile, distro: Distro) -> str | None:
    """Return in words why `profile` is not for the guest, or None."""
    match = profile.match
    if match is None:
        return None
    if distro.family != match.family:
        return f"profile {profile.name} is for the {match.family} family; this guest is {_describe(distro)}"
    if not any(_all_hold(distro.release, range_) for range_ in _ranges(profile)):
        return f"profile {profile.name} is for versions {match.version}; this guest is {_describe(distro)}"
    return None


def _hint(distro: Distro, otherwise: str) -> str:
    """Enterprise Linux 6.0 to 6.3 is refused for a reason of its own (R12)."""
    if distro.family == "rhel" and _all_hold(distro.release, [(">=", "6.0"), ("<", "6.4")]):
        return (
            "Enterprise Linux 6.0 to 6.3 has no Hyper-V drivers: update the guest to 6.4 or later, or install "
            "Microsoft's Linux Integration Services (LIS) in it and set `match` in a profile of your own"
        )
    return otherwise


def _describe(distro: Distro) -> str:
    version = f"VERSION_ID {distro.version or 'unknown'}"
    if distro.base_version:
        version += f", as {distro.family} {distro.base_version}"
    return f"{distro.pretty_name} (ID {distro.id}, family {distro.family}, {version})"


def _guests(profile: Profile) -> str:
    return f"{profile.match.family} {profile.match.version}".strip() if profile.match else "any"


def _specificity(profile: Profile, distro: Distro) -> tuple[list[int], bool, list[int]]:
    """Return a key by which the narrower range of versions is the greater: its start, then its end."""
    bounds = next(range_ for range_ in _ranges(profile) if _all_hold(distro.release, range_))
    lower = max((_numbers(number) for operator, number in bounds if operator[0] in ">="), default=[])
    upper = min((_numbers(number) for operator, number in bounds if operator[0] in "<="), default=[])
    return lower, bool(upper), [-n for n in upper]


def _ranges(profile: Profile) -> list[list[tuple[str, str]]]:
    """Return the ranges of versions, of which one must hold, each as (operator, number) that all must."""
    text = profile.match.version if profile.match else ""
    return [_constraints(part, profile.name) for part in text.split("|")]


def size_warnings(source: Source, profile: Profile | Auto, wanted: int = 0) -> tuple[str, ...]:
    """Compare the size with the profile's limits, by the partition table alone: before a byte is copied.

    `wanted` are the bytes that the disk is to have, where that is more.

    Raises ImageError for a disk that Azure refuses.
    """
    own = profile.disk
    limits = Limits(own.warn_gib * GIB, own.gen1_max_gib * GIB, own.gen2_max_gib * GIB, own.min_mib * MIB)
    gen2 = any(partition.is_esp for partition in source.table.partitions)
    return check_size(
        max(source.size, wanted), gen1=source.table.bios.possible or not gen2, gen2=gen2, limits=limits
    )


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


def _all_hold(version: str, constraints: list[tuple[str, str]]) -> bool:
    return all(_holds(version, operator, number) for operator, number in constraints)


def _holds(version: str, operator: str, number: str) -> bool:
    """Compare as numbers; a guest without a version (Debian testing) counts as newest."""
    if not version:
        return operator in (">", ">=")
    left, right = _numbers(version), _numbers(number)
    left = [*left, *[0] * len(right)][: len(right)]  # 9.4 is not beyond "<=9", and 9 is no less than "9.0"
    return {
        ">=": left >= right,
        "<=": left <= right,
        "==": left == right,
        "<": left < right,
        ">": left > right,
    }[operator]


def _numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)]
