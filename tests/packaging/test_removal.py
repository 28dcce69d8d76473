"""A removal takes along what cannot stay, and nothing else; rpm and apt agree."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.packaging import debian
from imgfix.packaging.model import Package, System
from imgfix.packaging.removal import refused, removal
from imgfix.packaging.rpm import read_system
from imgfix.packaging.world import Index, World
from tests.fake_tree import FakeTree
from tests.packaging import debs, rpms
from tests.packaging.rpms import Rpm

COUNT = 8
#: For each package, the numbers of those that it needs, in alternatives.
GRAPH = st.lists(
    st.lists(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=2, unique=True), max_size=2),
    min_size=COUNT,
    max_size=COUNT,
)


def _system(graph: list[list[list[int]]]) -> System:
    stanzas = []
    for number, needs in enumerate(graph):
        depends = ", ".join(" | ".join(f"p{n}" for n in alternatives) for alternatives in needs)
        stanzas.append(f"Package: p{number}\nVersion: 1\nArchitecture: amd64\nDepends: {depends}")
    found = debian.read_system(FakeTree({"/var/lib/dpkg/status": debs.installed(stanzas)}))
    assert found is not None
    return found


@given(GRAPH, st.sets(st.integers(0, COUNT - 1), min_size=1, max_size=2))
def test_what_stays_has_all_it_had_and_what_goes_had_to(
    graph: list[list[list[int]]], named: set[int]
) -> None:
    system = _system(graph)
    found = removal(system, [f"p{number}" for number in named])
    index = Index(system.dialect, system.packages)
    before = World(index, frozenset(system.packages))
    after = before.changed(remove=found.packages)
    assert all(after.holds(need) for package in after.present for need in package.needs)
    for package, _ in found.along:
        assert not all(after.holds(need) for need in package.needs), package
    assert {p.name for p in found.named} == {f"p{number}" for number in named}


@settings(max_examples=10, deadline=None)
@given(GRAPH, st.integers(0, COUNT - 1))
def test_apt_takes_the_same_along(
    tmp_path_factory: pytest.TempPathFactory, graph: list[list[list[int]]], named: int
) -> None:
    system = _system(graph)
    found = removal(system, [f"p{named}"])
    folder = tmp_path_factory.mktemp("apt")
    stanzas = [
        f"Package: {p.name}\nVersion: 1\nArchitecture: amd64\nDepends: "
        + ", ".join(str(n).replace(" or ", " | ") for n in p.needs)
        for p in system.packages
    ]
    done = debs.apt(folder, debs.installed(stanzas), "purge", f"p{named}")
    assert {*re.findall(r"(?m)^Purg (\S+)|^Remv (\S+)", done.stdout)} == {
        (p.name, "") for p in found.packages
    }


@settings(max_examples=3, deadline=None)
@given(GRAPH, st.integers(0, COUNT - 1))
def test_rpm_takes_the_same_along(
    tmp_path_factory: pytest.TempPathFactory, graph: list[list[list[int]]], named: int
) -> None:
    folder = tmp_path_factory.mktemp("rpm")
    packages = [
        Rpm(f"p{number}", lines=tuple(f"Requires: ({' or '.join(f'p{n}' for n in one)})" for one in needs))
        for number, needs in enumerate(graph)
    ]
    rpms.install(folder / "root", rpms.build(folder, packages))
    system = read_system(FakeTree(rpms.database(folder / "root")))
    assert system is not None
    found = removal(system, [f"p{named}"])
    assert rpms.refused_removal(folder / "root", [p.name for p in found.packages]) == []
    for package, _ in found.along:
        rest = [p.name for p in found.packages if p is not package]
        assert rpms.refused_removal(folder / "root", rest), f"{package} could stay"


def _one(name: str, *, essential: bool = False, needs: str = "") -> Package:
    fields = {"package": name, "version": "1", "architecture": "amd64", "depends": needs}
    return debian.package({**fields, "essential": "yes" if essential else "no"}, "x")


def _refused(packages: list[Package], *patterns: str, kept: tuple[str, ...] = ()) -> tuple[str, ...]:
    system = System(debian.Dpkg("amd64"), tuple(packages), "amd64")
    return refused(removal(system, patterns), kept)


def test_what_must_not_go() -> None:
    packages = [
        _one("lib"),
        _one("tool", needs="lib"),
        _one("grub2-tools", needs="tool"),
        _one("agent", needs="lib"),
        _one("base", essential=True, needs="lib"),
    ]
    assert _refused(packages, "lib", kept=("agent",)) == (
        "base is essential",
        "agent, which the profile adds, needs lib",
        "grub2-tools needs tool",
    )
    assert _refused(packages, "tool") == ("grub2-tools needs tool",)
    assert _refused(packages, "tool", "grub2-tools") == ()
    assert _refused(packages, "base") == ("base is essential",)
    assert _refused(packages, "none") == ()


def test_nothing_is_removed_for_what_was_missing_before() -> None:
    packages = (_one("a"), _one("broken", needs="a, never-there"), _one("half", needs="never-there"))
    found = removal(System(debian.Dpkg("amd64"), packages, "amd64"), ["a"])
    assert [p.name for p in found.packages] == ["a", "broken"]
