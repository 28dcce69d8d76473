"""Is a profile meant for this guest: family, version, and what the refusal says."""

from __future__ import annotations

import pytest

from imgfix import profile_load
from imgfix.errors import GuestError
from imgfix.facts.model import Distro, Facts, Storage
from imgfix.profile import Match, Profile
from imgfix.suits import require_suitable, require_usable


def _facts(version: str, family: str = "rhel") -> Facts:
    return Facts(
        Distro("almalinux", ("rhel",), version, f"AlmaLinux {version}", family), (), (), Storage("gpt", ())
    )


def _profile(version: str) -> Profile:
    return Profile(name="mine", match=Match(family="rhel", version=version))


@pytest.mark.parametrize(
    ("condition", "version"),
    [
        ("", "9.4"),
        (">=8", "8"),
        (">=8", "8.9"),
        (">=8", "10.0"),
        (">=9.0", "9"),
        (">=8, <10", "9.4"),
        ("<=9", "9.4"),
        ("<10", "9.10"),
        ("==9", "9.4"),
        ("==9.4", "9.4"),
        (">9.3", "9.10"),
        (">=6.4,<7", "6.10"),
        (">=8", ""),
        (">8", ""),
    ],
)
def test_a_suitable_guest_passes(condition: str, version: str) -> None:
    require_suitable(_profile(condition), _facts(version))


@pytest.mark.parametrize(
    ("condition", "version"),
    [
        (">=8", "7.9"),
        (">=9.1", "9"),
        (">9", "9.4"),
        ("<9", "9.4"),
        ("==9.1", "9.10"),
        ("==9.4", "9"),
        (">=8,<9", "9"),
        ("<=9", "10.1"),
        ("<10", ""),
        ("==9", ""),
    ],
)
def test_another_version_is_refused(condition: str, version: str) -> None:
    with pytest.raises(GuestError) as caught:
        require_suitable(_profile(condition), _facts(version))
    assert f"profile mine is for versions {condition}; this guest is AlmaLinux {version}" in str(caught.value)
    assert f"VERSION_ID {version or 'unknown'}" in str(caught.value)
    assert caught.value.hint


def test_another_family_is_refused() -> None:
    with pytest.raises(GuestError, match=r"for the debian family; this guest is AlmaLinux 9\.4") as caught:
        require_suitable(profile_load.load("debian"), _facts("9.4"))
    assert "family rhel" in str(caught.value)


def test_a_profile_without_match_suits_all() -> None:
    require_suitable(profile_load.load("azure"), _facts("", "suse"))


@pytest.mark.parametrize(("version", "told"), [("6.0", True), ("6.3", True), ("5.11", False), ("7.9", False)])
def test_enterprise_linux_before_6_4_is_told_of_its_drivers(version: str, told: bool) -> None:
    with pytest.raises(GuestError) as caught:
        require_suitable(_profile(">=6.4,<7"), _facts(version))
    assert ("Linux Integration Services (LIS)" in (caught.value.hint or "")) is told


def test_a_machine_that_sleeps_is_refused() -> None:
    require_usable(Storage("gpt", ()))
    with pytest.raises(GuestError, match="hibernated: /dev/sda2, /swapfile holds") as caught:
        require_usable(Storage("gpt", (), hibernated=("/dev/sda2", "/swapfile")))
    assert "shut it down" in str(caught.value.hint)


def test_a_root_that_is_read_only_by_design_is_refused() -> None:
    with pytest.raises(GuestError, match="read-only btrfs subvolume"):
        require_usable(Storage("gpt", (), sealed=True))


@pytest.mark.parametrize(
    ("name", "family", "suitable", "unsuitable"),
    [
        ("rhel", "rhel", ("7.0", "7.9", "8.10", "9.4", "10.0"), ("6.10", "5.11")),
        ("rhel6", "rhel", ("6.4", "6.10"), ("6.3", "7.0")),
        ("sles", "suse", ("12.5", "15.6", "16.0", "42.3", "20240501"), ("11.4",)),
    ],
)
def test_bundled_profiles_take_their_guests(
    name: str, family: str, suitable: tuple[str, ...], unsuitable: tuple[str, ...]
) -> None:
    profile = profile_load.load(name)
    for version in suitable:
        require_suitable(profile, _facts(version, family))
    for version in unsuitable:
        with pytest.raises(GuestError, match="is for versions"):
            require_suitable(profile, _facts(version, family))
