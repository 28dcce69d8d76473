"""Is a profile meant for this guest: family, version, and what the refusal says."""

from __future__ import annotations

import pytest

from imgfix import profile_load
from imgfix.errors import GuestError, ProfileError
from imgfix.facts.distro import FAMILIES, read_distro
from imgfix.facts.model import Distro, Storage
from imgfix.profile import Match, Profile
from imgfix.suits import Auto, choose, require_suitable, require_usable
from tests.fake_tree import FakeTree


def _distro(version: str, family: str = "rhel", base: str | None = None) -> Distro:
    return Distro("almalinux", ("rhel",), version, f"AlmaLinux {version}", family, base)


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
        ("==2 | >=9", "9.4"),
        ("==2|>=9", "2"),
        (">=7,<8 | >=9.1,<10", "9.4"),
    ],
)
def test_a_suitable_guest_passes(condition: str, version: str) -> None:
    require_suitable(_profile(condition), _distro(version))


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
        ("==2 | >=9.5", "9.4"),
        (">=7,<8 | >=9.1,<10", "8.4"),
    ],
)
def test_another_version_is_refused(condition: str, version: str) -> None:
    with pytest.raises(GuestError) as caught:
        require_suitable(_profile(condition), _distro(version))
    assert f"profile mine is for versions {condition}; this guest is AlmaLinux {version}" in str(caught.value)
    assert f"VERSION_ID {version or 'unknown'}" in str(caught.value)
    assert caught.value.hint


def test_another_family_is_refused() -> None:
    with pytest.raises(GuestError, match=r"for the debian family; this guest is AlmaLinux 9\.4") as caught:
        require_suitable(profile_load.load("debian"), _distro("9.4"))
    assert "family rhel" in str(caught.value)


def test_a_profile_without_match_suits_all() -> None:
    require_suitable(profile_load.load("azure"), _distro("", "suse"))


@pytest.mark.parametrize(("version", "told"), [("6.0", True), ("6.3", True), ("5.11", False), ("7.9", False)])
def test_enterprise_linux_before_6_4_is_told_of_its_drivers(version: str, told: bool) -> None:
    with pytest.raises(GuestError) as caught:
        require_suitable(_profile(">=6.4,<7"), _distro(version))
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
        require_suitable(profile, _distro(version, family))
    for version in unsuitable:
        with pytest.raises(GuestError, match="is for versions"):
            require_suitable(profile, _distro(version, family))


def _ranges(*versions: str) -> Auto:
    return Auto(
        (
            Profile(name="azure"),
            Profile(name="debian", match=Match(family="debian")),
            *(
                Profile(name=version or "any", match=Match(family="rhel", version=version))
                for version in versions
            ),
        )
    )


@pytest.mark.parametrize(
    ("versions", "version", "chosen"),
    [
        (["", ">=8"], "9.4", ">=8"),
        (["", ">=8"], "7.9", "any"),
        ([">=9", ">=8", ""], "9.4", ">=9"),
        ([">=8", ">=8,<9"], "8.10", ">=8,<9"),
        ([">=8,<9", ">=8,<=10", ">=8"], "8.10", ">=8,<9"),
        ([">=6,<7", ">=7"], "6.10", ">=6,<7"),
        (["<7", ""], "6.10", "<7"),
        (["==9.4", ">=9"], "9.4", "==9.4"),
    ],
)
def test_auto_chooses_the_most_specific(versions: list[str], version: str, chosen: str) -> None:
    for order in (versions, versions[::-1]):
        assert choose(_ranges(*order), _distro(version)).name == chosen


def test_auto_goes_by_what_a_derivative_is_made_from() -> None:
    assert choose(_ranges(">=22", ">=24"), _distro("21.3", base="22.04")).name == ">=22"
    assert choose(_ranges(">=22", ">=24"), _distro("1", base="")).name == ">=24"
    with pytest.raises(GuestError, match=r"VERSION_ID 17, as rhel 6\.0"):
        choose(_ranges(">=22"), _distro("17", base="6.0"))


def test_auto_finds_none_and_lists_what_there_is() -> None:
    with pytest.raises(GuestError) as caught:
        choose(_ranges(">=8"), _distro("15.5", "suse"))
    assert "no profile is for this guest, AlmaLinux 15.5 (ID almalinux, family suse, VERSION_ID 15.5)" in str(
        caught.value
    )
    assert "there are: debian (debian), >=8 (rhel >=8)" in str(caught.value)
    assert "extends" in (caught.value.hint or "")


def test_a_named_profile_is_checked_and_taken() -> None:
    (azure, debian, *_) = _ranges().candidates
    assert choose(azure, _distro("9.4")) is azure
    with pytest.raises(GuestError, match="for the debian family"):
        choose(debian, _distro("9.4"))


def test_no_two_bundled_profiles_claim_the_same_guests() -> None:
    claims = [(p.match.family, p.match.version) for p in profile_load.load_bundled() if p.match]
    assert len(claims) == len(set(claims))
    assert {family for family, _ in claims} <= set(FAMILIES)


#: What people bring, by the os-release that it has, and the profile that `auto` takes.
GUESTS = [
    ("ID=debian\nVERSION_ID=10", "debian"),
    ("ID=debian\nVERSION_ID=13", "debian"),
    ("ID=debian", "debian"),  # testing has no version
    ("ID=linuxmint\nID_LIKE=debian\nVERSION_ID=6\nDEBIAN_CODENAME=bookworm", "debian"),
    ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=18.04", "ubuntu"),
    ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=26.04", "ubuntu"),
    ("ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_ID=21.3\nUBUNTU_CODENAME=jammy", "ubuntu"),
    ("ID=elementary\nID_LIKE=ubuntu\nVERSION_ID=7.1\nUBUNTU_CODENAME=jammy", "ubuntu"),
    ("ID=rocky\nID_LIKE='rhel centos fedora'\nVERSION_ID=8.10", "rhel"),
    ("ID=ol\nID_LIKE=fedora\nVERSION_ID=9.4", "rhel"),
    ("ID=anolis\nID_LIKE='rhel fedora centos'\nVERSION_ID=8.8\nPLATFORM_ID=platform:an8", "rhel"),
    ("ID=alinux\nID_LIKE='rhel fedora centos'\nVERSION_ID=3\nPLATFORM_ID=platform:al8", "rhel"),
    ("ID=fedora\nVERSION_ID=34", "fedora"),
    ("ID=nobara\nID_LIKE=fedora\nVERSION_ID=41", "fedora"),
    ("ID=amzn\nID_LIKE='centos rhel fedora'\nVERSION_ID=2", "amazon"),
    ("ID=amzn\nID_LIKE=fedora\nVERSION_ID=2023", "amazon"),
    ("ID=azurelinux\nVERSION_ID=3.0", "azurelinux"),
    ("ID=mariner\nVERSION_ID=2.0", "azurelinux"),
]


@pytest.mark.parametrize(("lines", "chosen"), GUESTS, ids=[f"{row[0]}"[3:30] for row in GUESTS])
def test_auto_for_what_people_bring(lines: str, chosen: str) -> None:
    distro = read_distro(FakeTree({"/etc/os-release": lines}))
    assert choose(Auto(profile_load.load_bundled()), distro).name == chosen


@pytest.mark.parametrize(
    "lines",
    [
        "ID=debian\nVERSION_ID=9",
        "ID=ubuntu\nVERSION_ID=16.04",
        "ID=linuxmint\nID_LIKE=ubuntu\nVERSION_ID=19\nUBUNTU_CODENAME=xenial",
        "ID=fedora\nVERSION_ID=33",
        "ID=amzn\nVERSION_ID=2018.03",
        "ID=mariner\nVERSION_ID=1.0",
    ],
)
def test_auto_refuses_what_no_profile_covers(lines: str) -> None:
    distro = read_distro(FakeTree({"/etc/os-release": lines}))
    with pytest.raises(GuestError, match="no profile is for this guest"):
        choose(Auto(profile_load.load_bundled()), distro)


def test_settings_reach_every_profile_that_auto_may_choose() -> None:
    assert {p.mode.value for p in profile_load.load_bundled(["mode=specialized"])} == {"specialized"}
    with pytest.raises(ProfileError, match=r"--set swap\.size=1: swap\.size: unknown key"):
        profile_load.load_bundled(["swap.size=1"])


def test_auto_is_no_profile_to_show() -> None:
    with pytest.raises(ProfileError, match="only commands with a disk choose"):
        profile_load.load("auto")


def test_the_limits_of_the_disk_are_known_before_the_profile_is() -> None:
    wish = Auto(profile_load.load_bundled())
    assert {profile.disk for profile in wish.candidates} == {wish.disk}
