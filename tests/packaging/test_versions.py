"""Versions sort as dpkg and rpm sort them, and what is provided meets what is needed as rpm sees it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from imgfix.packaging.debian import Dpkg
from imgfix.packaging.model import Relation
from imgfix.packaging.rpm import Rpm as Dialect
from imgfix.packaging.versions import deb_key, evr_key, parse_evr, without_epoch
from tests.packaging import rpms

#: A batch of examples goes to one call of rpm; making it smaller would take minutes.
_NO_SHRINKING = (Phase.explicit, Phase.generate)

UPSTREAM = st.from_regex(r"[0-9][0-9a-bA~.+]{0,6}", fullmatch=True)
DEB = st.builds(
    lambda epoch, upstream, revision: epoch + upstream + revision,
    st.sampled_from(["", "", "0:", "1:", "12:"]),
    UPSTREAM,
    st.sampled_from(["", "", "-0", "-1", "-1+b1", "-1~bpo1", "-00"]),
)
RPM = st.from_regex(r"[0-9abA]{1,3}([.~^+_][0-9abA]{1,3}){0,2}", fullmatch=True)
EVR = st.builds(
    lambda epoch, version, release: epoch + version + release,
    st.sampled_from(["", "", "0:", "1:"]),
    RPM,
    st.sampled_from(["", "", "-1", "-1.el9", "-2", "-0"]),
)


@settings(max_examples=150, deadline=None)
@given(DEB, DEB)
def test_deb_versions_sort_as_in_dpkg(one: str, other: str) -> None:
    key, against = deb_key(one), deb_key(other)
    relation = "lt" if key < against else "gt" if key > against else "eq"
    argv = ("dpkg", "--compare-versions", one, relation, other)
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


@settings(max_examples=20, deadline=None, phases=_NO_SHRINKING)
@given(st.lists(st.tuples(EVR, EVR), min_size=40, max_size=80))
def test_rpm_versions_sort_as_in_rpm(pairs: list[tuple[str, str]]) -> None:
    # rpm.vercmp takes whole EVRs; it leaves out a release that only one of them has, as a dependency does.
    same = [(a, b) for a, b in pairs if bool(parse_evr(a)[2]) == bool(parse_evr(b)[2])]
    code = "".join(f'print(rpm.vercmp("{a}", "{b}") .. " ") ' for a, b in same)
    done = subprocess.run(("rpm", "--eval", f"%{{lua:{code}}}"), capture_output=True, text=True, check=True)
    mine = [(evr_key(a) > evr_key(b)) - (evr_key(a) < evr_key(b)) for a, b in same]
    assert mine == [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1", ("", "1", "")),
        ("2:1-3", ("2", "1", "3")),
        (":1", ("0", "1", "")),
        ("1-2-3", ("", "1-2", "3")),
        ("a:1", ("", "a:1", "")),
    ],
)
def test_evr(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_evr(text) == parts


def test_a_number_of_any_length_is_no_harm() -> None:
    assert deb_key("1" * 9999) > deb_key("9" * 9998)
    assert evr_key("0" * 9999 + "1") == evr_key("1")


def test_without_epoch() -> None:
    assert [without_epoch(v) for v in ("1:2-3", "2-3", "a:2")] == ["2-3", "2-3", "a:2"]


_OPERATORS = {"": "", "<<": "<", "<=": "<=", "=": "=", ">=": ">=", ">>": ">"}


@settings(max_examples=4, deadline=None, phases=_NO_SHRINKING)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(_OPERATORS)), EVR, st.sampled_from(sorted(_OPERATORS)), EVR),
        min_size=100,
        max_size=200,
    )
)
def test_ranges_overlap_as_in_rpm(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("overlap")
    gives, asks, met = [], [], {}
    for number, (operator, version, needed_operator, needed) in enumerate(rows):
        name = f"thing{number}"
        gives.append(f"Provides: {name} {_OPERATORS[operator]} {version if operator else ''}")
        asks.append(f"Requires: {name} {_OPERATORS[needed_operator]} {needed if needed_operator else ''}")
        met[name] = Dialect("x86_64").meets(
            Relation(name, operator, version if operator else ""),
            Relation(name, needed_operator, needed if needed_operator else ""),
        )
    files = rpms.build(folder, [rpms.Rpm("giver", lines=tuple(gives)), rpms.Rpm("asker", lines=tuple(asks))])
    (folder / "root").mkdir()
    unmet = {line.split()[0] for line in rpms.refused(folder / "root", files)}
    assert unmet == {name for name, is_met in met.items() if not is_met}


@pytest.mark.parametrize(
    ("provided", "needed", "met"),
    [
        (("", ""), ("", ""), True),
        (("", ""), (">=", "1"), False),
        (("=", "2"), (">=", "1"), True),
        (("=", "1~rc1"), (">=", "1"), False),
        (("=", "1-1"), ("=", "1"), False),
        (("=", "1-0"), ("=", "1"), True),
        (("=", "2"), ("<<", "2"), False),
        (("=", "2"), ("<=", "2"), True),
        (("=", "2"), (">>", "2"), False),
    ],
)
def test_what_is_provided_meets_in_dpkg(
    provided: tuple[str, str], needed: tuple[str, str], met: bool
) -> None:
    assert Dpkg("amd64").meets(Relation("a", *provided), Relation("a", *needed)) is met


def test_rpms_own_features() -> None:
    """Every feature that this host's rpm says it has is granted to its version; what came later is not to EL 7's."""
    shown = subprocess.run(("rpm", "--showrc"), capture_output=True, text=True, check=True).stdout
    features = [line.split() for line in shown.splitlines() if line.strip().startswith("rpmlib(")]
    assert len(features) > 10
    version = subprocess.run(("rpm", "--version"), capture_output=True, text=True, check=True).stdout.split()[
        -1
    ]
    for name, _, provided in features:
        assert Dialect("x86_64", version).granted(Relation(name, "<=", provided)), name
    el7 = Dialect("x86_64", "4.11.3")
    assert el7.granted(Relation("rpmlib(PayloadIsXz)", "<=", "5.2-1"))
    assert el7.granted(Relation("rpmlib(FileDigests)", "<=", "4.6.0-1"))
    assert not el7.granted(Relation("rpmlib(PayloadIsZstd)", "<=", "5.4.18-1"))
    assert not el7.granted(Relation("rpmlib(RichDependencies)", "<=", "4.12.0-1"))
    assert not el7.granted(Relation("bash", "", ""))
