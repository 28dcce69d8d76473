"""The solver finds a choice of packages exactly where there is one, and nothing in it is in the way of another."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.packaging import debian, offer
from imgfix.packaging.debian import Dpkg
from imgfix.packaging.model import AnyOf, Need, Package, Relation, System
from imgfix.packaging.offer import Offer
from imgfix.packaging.rpm import Rpm as RpmDialect
from imgfix.packaging.rpm import read_rpm
from imgfix.packaging.rpm import read_system as read_rpm_system
from imgfix.packaging.solver import Solution, solve
from imgfix.packaging.want import parse
from imgfix.packaging.world import Index, World, relations
from tests.fake_tree import FakeTree
from tests.packaging import debs, rpms
from tests.packaging.rpms import Rpm

NAMES = ("a", "b", "c", "d", "v")
VERSIONS = ("1", "2", "3")
RELATION = st.builds(
    lambda name, operator, version: Relation(name, operator, version if operator else ""),
    st.sampled_from(NAMES),
    st.sampled_from(["", "", "=", ">=", "<<"]),
    st.sampled_from(VERSIONS),
)
NEED = st.one_of(RELATION, RELATION, st.builds(AnyOf, st.tuples(RELATION, RELATION)))


def _packages(file: str) -> st.SearchStrategy[Package]:
    return st.builds(
        lambda name, version, needs, provides, conflicts: Package(
            name,
            version,
            "amd64",
            needs=tuple(needs),
            provides=tuple(provides),
            conflicts=tuple(conflicts),
            file=file and f"{name}_{version}",
        ),
        st.sampled_from(NAMES[:4]),
        st.sampled_from(VERSIONS),
        st.lists(NEED, max_size=2),
        st.lists(st.just(Relation("v")), max_size=1),
        st.lists(RELATION, max_size=1),
    )


def _unique(packages: list[Package]) -> list[Package]:
    return list({(p.name, p.version): p for p in packages}.values())


INSTALLED = st.lists(_packages(""), max_size=3).map(lambda found: list({p.name: p for p in found}.values()))
OFFERED = st.lists(_packages("deb"), min_size=1, max_size=6).map(_unique)


def _is_right(system: System, offered: list[Package], wanted: Package, chosen: tuple[Package, ...]) -> bool:
    """Check a choice by the rules themselves, whatever the way to it."""
    names = [package.name for package in chosen]
    if len(set(names)) < len(names):
        return False
    gone = {old for old in system.packages if old.name in names}
    if any(
        not system.dialect.sorts_after(p.version, old.version)
        for old in gone
        for p in chosen
        if p.name == old.name
    ):
        return False
    index = Index(system.dialect, (wanted, *system.packages, *offered))
    before = World(index, frozenset(system.packages))
    world = before.changed(add=(wanted, *chosen), remove=gone)
    for package in world.present:
        is_ours = package is wanted or package in chosen
        if any(not world.holds(need) and (is_ours or before.holds(need)) for need in package.needs):
            return False
        if is_ours and any(True for _ in world.clashes(package)):
            return False
    return True


@settings(max_examples=400, deadline=None)
@given(INSTALLED, OFFERED, st.lists(NEED, min_size=1, max_size=2))
def test_a_choice_is_found_exactly_where_there_is_one(
    installed: list[Package], offered: list[Package], needs: list[Need]
) -> None:
    system = System(Dpkg("amd64"), tuple(installed), "amd64")
    wanted = Package("the profile", "", "", needs=tuple(needs))
    solution = solve(wanted, system, offered)
    subsets = itertools.chain.from_iterable(
        itertools.combinations(offered, n) for n in range(len(offered) + 1)
    )
    possible = any(_is_right(system, offered, wanted, subset) for subset in subsets)
    assert bool(solution.problems) != possible
    if possible:
        assert _is_right(system, offered, wanted, solution.chosen)
        assert set(solution.gone) == {p for p in installed if p.name in {c.name for c in solution.chosen}}
        _everything_has_a_reason(system, offered, wanted, solution)


def _everything_has_a_reason(
    system: System, offered: list[Package], wanted: Package, found: Solution
) -> None:
    """Each chosen package gives something that another one asks for, or is there for an installed one's sake."""
    index = Index(system.dialect, (wanted, *system.packages, *offered))
    asked = [r for p in (wanted, *found.chosen, *system.packages) for n in p.needs for r in relations(n)]
    for package in found.chosen:
        replaces_one = any(old.name == package.name for old in found.gone)
        assert replaces_one or any(package in index.meeting(relation) for relation in asked)


def _deb(text: str, file: str = "") -> Package:
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    return debian.package(
        {"architecture": "amd64", **{k.lower(): v for k, v in fields.items()}}, "x", file=file
    )


def _told(installed: list[Package], offered: list[Package], *wants: str) -> tuple[str, ...]:
    system = System(Dpkg("amd64"), tuple(installed), "amd64")
    solution = solve(offer.wanted([parse(want) for want in wants]), system, offered)
    assert solution.problems
    return offer.told(solution, Offer("debs", tuple(offered)), system)


def test_an_installed_package_may_be_in_the_way() -> None:
    installed = [_deb("Package: lib\nVersion: 1"), _deb("Package: old\nVersion: 1\nDepends: lib (= 1)")]
    offered = [
        _deb("Package: new\nVersion: 1\nDepends: lib (>= 2)", "new.deb"),
        _deb("Package: lib\nVersion: 2", "lib.deb"),
    ]
    assert _told(installed, offered, "new") == (
        "the installed old 1 would no longer have lib (= 1); the guest has lib 1, debs has lib 2",
    )


def test_what_is_in_the_way_is_brought_up_to_date() -> None:
    installed = [_deb("Package: lib\nVersion: 1"), _deb("Package: old\nVersion: 1\nDepends: lib (= 1)")]
    offered = [
        _deb("Package: new\nVersion: 1\nDepends: lib (>= 2)", "new.deb"),
        _deb("Package: lib\nVersion: 2", "lib.deb"),
        _deb("Package: old\nVersion: 2\nDepends: lib (= 2)", "old.deb"),
    ]
    system = System(Dpkg("amd64"), tuple(installed), "amd64")
    found = solve(offer.wanted([parse("new")]), system, offered)
    assert {p.file for p in found.chosen} == {"new.deb", "lib.deb", "old.deb"}
    assert set(found.gone) == set(installed)


def test_a_downgrade_is_no_way_out() -> None:
    offered = [
        _deb("Package: a\nVersion: 1\nDepends: b (<< 2)", "a.deb"),
        _deb("Package: b\nVersion: 1", "b.deb"),
    ]
    assert _told([_deb("Package: b\nVersion: 2")], offered, "a") == (
        "a 1 needs b (<< 2); the guest has b 2, debs has b 1",
    )


def test_two_packages_of_the_folder_that_exclude_each_other() -> None:
    offered = [_deb("Package: a\nVersion: 1\nConflicts: b", "a.deb"), _deb("Package: b\nVersion: 1", "b.deb")]
    assert _told([], offered, "a", "b") == ("a 1 conflicts with b 1, which is to be installed",)


def test_a_virtual_package_is_not_what_the_profile_names() -> None:
    offered = [_deb("Package: other\nVersion: 1\nProvides: waagent", "other.deb")]
    assert _told([], offered, "waagent | walinuxagent") == ("the profile needs waagent or walinuxagent",)


def test_rpm_an_obsolete_package_goes() -> None:
    old = Package("hyperv", "1-1", "noarch", provides=(Relation("hv", "=", "1"),))
    user = Package("user", "1-1", "noarch", needs=(Relation("hv"),))
    new = Package(
        "hyperv-daemons",
        "2-1",
        "noarch",
        provides=(Relation("hv", "=", "2"),),
        obsoletes=(Relation("hyperv", "<<", "2"),),
        file="new.rpm",
    )
    system = System(RpmDialect("x86_64"), (old, user), "x86_64")
    found = solve(offer.wanted([parse("hyperv-daemons")]), system, [new])
    assert (found.chosen, found.gone) == ((new,), (old,))


def test_rpm_agrees_with_the_choice_and_with_what_is_missing(tmp_path: Path) -> None:
    installed = rpms.build(
        tmp_path,
        [
            Rpm("rpm", "4.16-1", architecture="x86_64"),
            Rpm("python3", "3.9-1", files=("/usr/bin/python3",)),
            Rpm("lib", "1-1"),
            Rpm("user", "1-1", ("Requires: lib = 1-1",)),
        ],
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    offered = rpms.build(
        folder,
        [
            Rpm(
                "agent",
                "2-1",
                ("Requires: /usr/bin/python3", "Requires: lib >= 2", "Requires: (tool if python3)"),
            ),
            Rpm("lib", "2-1"),
            Rpm("user", "2-1", ("Requires: lib = 2-1",)),
            Rpm("tool", "1-1", ("Requires: helper",)),
            Rpm("helper", "1-1", ("Requires: gone > 1", "Conflicts: python3 < 3")),
            Rpm("unneeded", "1-1"),
        ],
    )
    offered += rpms.build(folder, [Rpm("helper", "2-1", ("Conflicts: python3 < 4",), architecture="x86_64")])
    rpms.install(tmp_path / "root", installed)
    system = read_rpm_system(FakeTree(rpms.database(tmp_path / "root")))
    assert system is not None
    packages = []
    for path in offered:
        with path.open("rb") as stream:
            packages.append(read_rpm(stream, str(path)))
    lacking = solve(offer.wanted([parse("agent")]), system, packages)
    assert offer.told(lacking, Offer("rpms", tuple(packages)), system) == (
        "helper 2-1 conflicts with python3 3.9-1, which is installed",
    )
    gone = folder / "gone"
    gone.mkdir()
    offered += rpms.build(gone, [Rpm("gone", "2-1")])
    with offered[-1].open("rb") as stream:
        packages.append(read_rpm(stream, str(offered[-1])))
    found = solve(offer.wanted([parse("agent")]), system, packages)
    assert {str(p) for p in found.chosen} == {
        "agent 2-1",
        "lib 2-1",
        "user 2-1",
        "tool 1-1",
        "helper 1-1",
        "gone 2-1",
    }
    assert rpms.refused(tmp_path / "root", [Path(p.file) for p in found.chosen]) == []
    for left_out in found.chosen:
        if left_out.name not in ("agent",):
            rest = [Path(p.file) for p in found.chosen if p is not left_out]
            assert rpms.refused(tmp_path / "root", rest), f"{left_out} is not needed"


def test_apt_agrees_with_the_choice(tmp_path: Path) -> None:
    status = debs.installed(
        [
            "Package: dpkg\nVersion: 1.21\nArchitecture: amd64",
            "Package: python3\nVersion: 3.11\nArchitecture: amd64\nMulti-Arch: allowed",
            "Package: libssl\nVersion: 1.0\nArchitecture: amd64",
            "Package: curl\nVersion: 1\nArchitecture: amd64\nDepends: libssl (<< 2)",
        ]
    )
    controls = [
        "Package: waagent\nVersion: 2.7\nArchitecture: all\nDepends: python3:any, openssl (>= 3), mta | cron",
        "Package: openssl\nVersion: 3.0\nArchitecture: amd64\nPre-Depends: libssl (>= 1.5)",
        "Package: openssl\nVersion: 4.0\nArchitecture: amd64\nDepends: libssl (>= 2)",
        "Package: libssl\nVersion: 1.9\nArchitecture: amd64",
        "Package: libssl\nVersion: 2.0\nArchitecture: amd64",
        "Package: postfix\nVersion: 1\nArchitecture: amd64\nProvides: mta",
    ]
    files = [debs.build(tmp_path, control) for control in controls]
    system = debian.read_system(FakeTree({"/var/lib/dpkg/status": status}))
    assert system is not None
    packages = []
    for path in files:
        with path.open("rb") as stream:
            packages.append(debian.read_deb(stream, str(path)))
    found = solve(offer.wanted([parse("waagent")]), system, packages)
    assert {str(p) for p in found.chosen} == {"waagent 2.7", "openssl 3.0", "libssl 1.9", "postfix 1"}
    done = debs.apt(tmp_path, status, "--no-remove", "install", *(p.file for p in found.chosen))
    assert done.returncode == 0, done.stderr
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")} == {
        p.name for p in found.chosen
    }
