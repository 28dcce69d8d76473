"""Distributions by their real release files."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.errors import GuestError, ParseError
from imgfix.facts.distro import FAMILIES, family_of, is_linux_root, read_distro
from imgfix.facts.model import Distro
from tests.fake_tree import FakeEntry, FakeTree, link

ALMA = """NAME="AlmaLinux"
VERSION="9.4 (Seafoam Ocelot)"
ID="almalinux"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.4"
PRETTY_NAME="AlmaLinux 9.4 (Seafoam Ocelot)"
LOGO="fedora-logo-icon"
"""


def os_release(text: str) -> Distro:
    return read_distro(FakeTree({"/etc/os-release": text}))


def test_a_real_os_release() -> None:
    assert os_release(ALMA) == Distro(
        "almalinux", ("rhel", "centos", "fedora"), "9.4", "AlmaLinux 9.4 (Seafoam Ocelot)", "rhel"
    )


@pytest.mark.parametrize(
    ("lines", "family"),
    [
        ("ID=debian\nVERSION_ID='12'", "debian"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'", "ubuntu"),
        ("ID=linuxmint\nID_LIKE=debian", "debian"),
        ("ID=mine\nID_LIKE='ubuntu debian'", "ubuntu"),
        ("ID=ubuntu\nID_LIKE=debian", "ubuntu"),
        ("ID=kali\nID_LIKE=debian", "debian"),
        ("ID=fedora", "fedora"),
        ("ID=nobara\nID_LIKE=fedora", "fedora"),
        ("ID=rocky\nID_LIKE='rhel centos fedora'", "rhel"),
        ("ID=ol\nID_LIKE=fedora", "rhel"),
        ("ID=newclone\nID_LIKE='what rhel fedora'", "rhel"),
        ("ID='opensuse-leap'\nID_LIKE='suse opensuse'", "suse"),
        ("ID='sles_sap'\nID_LIKE='suse'", "suse"),
        ("ID=amzn\nID_LIKE='centos rhel fedora'", "amazon"),
        ("ID=mariner", "azurelinux"),
        ("ID=azurelinux\nID_LIKE=mariner", "azurelinux"),
        ('ID="Rocky"', "rhel"),
    ],
)
def test_families(lines: str, family: str) -> None:
    assert os_release(lines).family == family


def test_every_family_member_leads_to_its_family() -> None:
    for family, names in FAMILIES.items():
        assert {family_of(name, ()) for name in names} == {family}


def test_quoting_comments_and_the_last_assignment() -> None:
    found = os_release(
        '# ID=no\n\n ID=debian \nID="debian" # a comment\nPRETTY_NAME="a \\"b\\" c"\nVERSION_ID=\n'
    )
    assert found == Distro("debian", (), "", 'a "b" c', "debian")


@pytest.mark.parametrize(
    ("files", "version", "release"),
    [
        ({"/etc/os-release": "ID=debian\nVERSION_ID=12", "/etc/debian_version": "12.5\n"}, "12", "12"),
        ({"/etc/os-release": "ID=ubuntu\nVERSION_ID=24.04\nUBUNTU_CODENAME=noble"}, "24.04", "24.04"),
        (
            {"/etc/os-release": "ID=linuxmint\nID_LIKE=ubuntu\nVERSION_ID=21\nUBUNTU_CODENAME=jammy"},
            "21",
            "22.04",
        ),
        ({"/etc/os-release": "ID=pop\nID_LIKE='ubuntu debian'\nVERSION_ID=22.04"}, "22.04", "22.04"),
        ({"/etc/os-release": "ID=zorin\nID_LIKE=ubuntu\nVERSION_ID=99\nUBUNTU_CODENAME=zany"}, "99", ""),
        (
            {"/etc/os-release": "ID=linuxmint\nID_LIKE=debian\nVERSION_ID=6\nDEBIAN_CODENAME=bookworm"},
            "6",
            "12",
        ),
        ({"/etc/os-release": "ID=devuan\nVERSION_ID=5", "/etc/debian_version": "12.4\n"}, "5", "12.4"),
        (
            {"/etc/os-release": "ID=pureos\nVERSION_ID=10", "/etc/debian_version": "bullseye/sid\n"},
            "10",
            "11",
        ),
        (
            {"/etc/os-release": "ID=kali\nVERSION_ID=2024.1", "/etc/debian_version": "kali-rolling\n"},
            "2024.1",
            "",
        ),
        ({"/etc/os-release": "ID=alinux\nID_LIKE=rhel\nVERSION_ID=3\nPLATFORM_ID=platform:al8"}, "3", "8"),
        ({"/etc/os-release": "ID=rhel\nVERSION_ID=8.10\nPLATFORM_ID=platform:el8"}, "8.10", "8.10"),
        ({"/etc/os-release": "ID=newclone\nID_LIKE=rhel\nVERSION_ID=3"}, "3", "3"),
        (
            {"/etc/os-release": "ID=nobara\nID_LIKE=fedora\nVERSION_ID=41\nPLATFORM_ID=platform:f41"},
            "41",
            "41",
        ),
    ],
)
def test_the_version_of_what_a_derivative_is_made_from(
    files: dict[str, str], version: str, release: str
) -> None:
    distro = read_distro(FakeTree(files))
    assert (distro.version, distro.release) == (version, release)


def test_a_missing_pretty_name_is_made() -> None:
    assert os_release("ID=debian\nVERSION_ID=12").pretty_name == "debian 12"


def test_carriage_returns_do_not_become_part_of_the_id() -> None:
    assert os_release("ID=debian\r\nVERSION_ID=12\r\n").version == "12"


def test_broken_quotes_are_refused_with_the_line() -> None:
    with pytest.raises(ParseError, match="/etc/os-release: line 2") as caught:
        os_release('NAME="x\nID="debian\n')
    assert caught.value.line == 2


def test_broken_quotes_of_other_keys_do_no_harm() -> None:
    assert os_release("NAME='x\nID=debian\n").id == "debian"


def test_unknown_distributions_are_named() -> None:
    with pytest.raises(GuestError, match=r"'plan9'.*'unix bell'") as caught:
        os_release("ID=plan9\nID_LIKE='unix bell'")
    assert "debian" in str(caught.value.hint)


def test_os_release_is_found_through_its_link_and_in_usr() -> None:
    usual: dict[str, str | FakeEntry] = {
        "/etc/os-release": link("../usr/lib/os-release"),
        "/usr/lib/os-release": ALMA,
    }
    assert read_distro(FakeTree(usual)).id == "almalinux"
    assert read_distro(FakeTree({"/usr/lib/os-release": ALMA})).id == "almalinux"
    assert (
        read_distro(FakeTree({"/etc/os-release": link("gone"), "/usr/lib/os-release": ALMA})).id
        == "almalinux"
    )


@pytest.mark.parametrize(
    ("path", "text", "distro_id", "version", "family"),
    [
        (
            "/etc/redhat-release",
            "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n",
            "rhel",
            "6.10",
            "rhel",
        ),
        ("/etc/redhat-release", "CentOS release 6.10 (Final)\n", "centos", "6.10", "rhel"),
        ("/etc/centos-release", "CentOS release 6.5 (Final)\n", "centos", "6.5", "rhel"),
        ("/etc/redhat-release", "Scientific Linux release 6.9 (Carbon)\n", "scientific", "6.9", "rhel"),
        ("/etc/oracle-release", "Oracle Linux Server release 6.8\n", "ol", "6.8", "rhel"),
        ("/etc/redhat-release", "Fedora release 17 (Beefy Miracle)\n", "fedora", "17", "fedora"),
        ("/etc/system-release", "Amazon Linux AMI release 2013.03\n", "amzn", "2013.03", "amazon"),
        (
            "/etc/SuSE-release",
            "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n",
            "sles",
            "11.4",
            "suse",
        ),
        ("/etc/SuSE-release", "openSUSE 12.1 (x86_64)\nVERSION = 12.1\n", "opensuse", "12.1", "suse"),
        ("/etc/debian_version", "6.0.10\n", "debian", "6.0.10", "debian"),
    ],
)
def test_release_files_from_before_os_release(
    path: str, text: str, distro_id: str, version: str, family: str
) -> None:
    found = read_distro(FakeTree({path: text}))
    assert found == Distro(distro_id, (), version, text.partition("\n")[0], family)


def test_oracle_is_told_from_the_red_hat_release_that_it_also_ships() -> None:
    files = {
        "/etc/redhat-release": "Red Hat Enterprise Linux Server release 6.8 (Santiago)\n",
        "/etc/oracle-release": "Oracle Linux Server release 6.8\n",
    }
    assert read_distro(FakeTree(files)).id == "ol"


def test_no_release_file_at_all() -> None:
    with pytest.raises(GuestError, match="no /etc/os-release"):
        read_distro(FakeTree({"/etc/redhat-release": "Something else\n"}))


@given(st.text())
def test_any_text_is_a_distro_or_refused(text: str) -> None:
    with contextlib.suppress(GuestError):
        assert os_release(text).family in FAMILIES


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({"/etc/os-release": "", "/etc/fstab": ""}, True),
        ({"/usr/lib/os-release": "", "/usr/lib/systemd/x": ""}, True),
        ({"/etc/redhat-release": "", "/sbin/init": ""}, True),
        (
            {
                "/etc/os-release": link("../usr/lib/os-release"),
                "/usr/lib/os-release": "",
                "/lib": link("usr/lib"),
            },
            True,
        ),
        # /usr on a volume of its own: os-release leads to what is not mounted yet
        ({"/etc/os-release": link("../usr/lib/os-release"), "/etc/fstab": "UUID=1 /usr xfs ro 0 0\n"}, True),
        (
            {"/etc/os-release": link("../usr/lib/os-release"), "/etc/fstab": "UUID=1 /home xfs ro 0 0\n"},
            False,
        ),
        ({"/etc/os-release": link("../usr/lib/os-release"), "/etc/fstab": "/usr\n"}, False),
        ({"/etc/fstab": "UUID=1 /usr xfs ro 0 0\n"}, False),
        ({"/etc/os-release": ""}, False),
        ({"/etc/fstab": "", "/lib/x": ""}, False),
        ({"/vmlinuz-6.1": "", "/grub/grub.cfg": ""}, False),
        ({}, False),
    ],
)
def test_is_linux_root(files: dict[str, str], root: bool) -> None:
    assert is_linux_root(FakeTree(files)) is root
