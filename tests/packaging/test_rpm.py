"""rpm packages: files and databases as rpmbuild and rpm make them, read as `rpm -q` reads them."""

from __future__ import annotations

import contextlib
import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.errors import GuestError
from imgfix.packaging import rpm
from imgfix.packaging.model import AllOf, AnyOf, Need, Package, Relation, System, When
from imgfix.packaging.richdeps import parse
from imgfix.packaging.system import canonical, is_dpkg, read_system
from imgfix.packaging.world import Index, World
from tests.fake_tree import FakeTree, folder, link
from tests.packaging import rpms
from tests.packaging.rpms import Rpm

FULL = Rpm(
    "WALinuxAgent",
    "3:2.7.0.6-9.el9",
    (
        "Requires: python3 >= 3.9",
        "Requires: /usr/bin/openssl",
        "Requires: (parted or gdisk)",
        "Requires(post): /bin/sh",
        "Provides: agent = 2",
        "Provides: azure-agent",
        "Conflicts: NetworkManager < 1",
        "Obsoletes: WALinuxAgent-legacy < 2.7",
        "Recommends: weak",
    ),
    ("/usr/sbin/waagent", "/etc/waagent.conf"),
)


def _read(path: Path) -> Package:
    with path.open("rb") as stream:
        return rpm.read_rpm(stream, path.name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = rpms.build(tmp_path_factory.mktemp("rpm"), [FULL])
    return path


def test_a_real_package_is_read(made: Path) -> None:
    found = _read(made)
    assert str(found) == "WALinuxAgent 3:2.7.0.6-9.el9"
    assert (found.architecture, found.file) == ("noarch", "WALinuxAgent-2.7.0.6-9.el9.noarch.rpm")
    needs = [need for need in found.needs if not str(need).startswith("rpmlib(")]
    assert sorted(map(str, needs)) == ["/bin/sh", "/usr/bin/openssl", "parted or gdisk", "python3 (>= 3.9)"]
    assert [str(p) for p in found.provides] == [
        "WALinuxAgent (= 3:2.7.0.6-9.el9)",
        "agent (= 2)",
        "azure-agent",
    ]
    assert [str(c) for c in found.conflicts] == ["NetworkManager (<< 1)"]
    assert [str(o) for o in found.obsoletes] == ["WALinuxAgent-legacy (<< 2.7)"]
    assert sorted(found.files) == ["/etc/waagent.conf", "/usr/sbin/waagent"]
    size = subprocess.run(
        ("rpm", "-qp", "--qf", "%{size}", made), capture_output=True, text=True, check=True
    ).stdout
    assert found.size == int(size)


@pytest.mark.parametrize("payload", ["w9.gzdio", "w3.xzdio", "w3.zstdio"])
def test_the_payload_does_not_matter(tmp_path: Path, payload: str) -> None:
    (path,) = rpms.build(tmp_path, [Rpm("a", files=("/usr/share/a",))], [f"_binary_payload {payload}"])
    assert _read(path).files == ("/usr/share/a",)


def test_a_download_that_was_cut_short_is_told_wherever_it_ends(made: Path) -> None:
    whole = made.read_bytes()
    for length in (0, 10, 96, 100, 111, 300, len(whole) // 2, len(whole) - 1):
        with pytest.raises(GuestError, match=r"^w\.rpm: "):
            rpm.read_rpm(io.BytesIO(whole[:length]), "w.rpm")


@settings(deadline=None)
@given(st.data())
def test_damage_is_told_and_never_more(made: Path, data: st.DataObject) -> None:
    whole = made.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    with contextlib.suppress(GuestError):
        assert rpm.read_rpm(io.BytesIO(broken), "w.rpm").name


def test_a_source_package_fits_no_guest(tmp_path: Path) -> None:
    spec = tmp_path / "s.spec"
    spec.write_text("Name: s\nVersion: 1\nRelease: 1\nSummary: t\nLicense: MIT\n%description\nt\n%files\n")
    argv = ("rpmbuild", "-bs", f"--define=_topdir {tmp_path}", f"--define=_srcrpmdir {tmp_path}", spec)
    subprocess.run(argv, check=True, capture_output=True)
    found = _read(tmp_path / "s-1-1.src.rpm")
    assert not rpm.Rpm("x86_64").fits(found)


def _system(root: Path, files: dict[str, bytes | str] | None = None) -> System:
    found = read_system(FakeTree({**rpms.database(root), **(files or {})}))
    assert found is not None
    return found


def test_a_real_database_is_read(made: Path, tmp_path: Path) -> None:
    others = rpms.build(tmp_path, [Rpm("rpm", "4.16.1.3-29.el9", architecture="x86_64"), Rpm("kernel-core")])
    rpms.install(tmp_path / "root", [made, *others])
    system = _system(tmp_path / "root")
    assert not is_dpkg(system)
    assert system.architecture == "x86_64"
    assert system.dialect == rpm.Rpm("x86_64", "4.16.1.3")
    by_name = {package.name: package for package in system.packages}
    assert set(by_name) == {"WALinuxAgent", "rpm", "kernel-core"}
    assert by_name["kernel-core"].parallel
    assert not by_name["WALinuxAgent"].file
    of_file = _read(made)
    for field in ("version", "needs", "provides", "conflicts", "obsoletes", "files", "size"):
        assert getattr(by_name["WALinuxAgent"], field) == getattr(of_file, field), field


def test_files_meet_needs_through_the_guests_folder_links(tmp_path: Path) -> None:
    packages = [
        Rpm("bash", files=("/usr/bin/sh",)),
        Rpm("user", lines=("Requires: /bin/sh", "Requires: /sbin/none")),
    ]
    rpms.install(tmp_path / "root", rpms.build(tmp_path, packages))
    for merged in (True, False):
        tree = FakeTree(
            {
                **rpms.database(tmp_path / "root"),
                "/bin": link("usr/bin") if merged else folder(),
                "/usr/bin/x": "x",
            }
        )
        system = rpm.read_system(tree)
        assert system is not None
        world = World(Index(system.dialect, system.packages, canonical(tree)), frozenset(system.packages))
        assert world.holds(Relation("/bin/sh")) is merged
        assert world.holds(Relation("/usr/bin/sh"))
        assert not world.holds(Relation("/sbin/none"))


@pytest.mark.parametrize(
    ("guest", "package", "fits"),
    [
        ("x86_64", "x86_64", True),
        ("x86_64", "noarch", True),
        ("x86_64", "i686", False),
        ("x86_64", "aarch64", False),
        ("x86_64", "x86_64_v2", False),
        ("x86_64_v2", "x86_64", True),
        ("i686", "i386", True),
        ("aarch64", "x86_64", False),
    ],
)
def test_architectures(guest: str, package: str, fits: bool) -> None:
    assert rpm.Rpm(guest).fits(Package("a", "1", package)) is fits


def test_kernels_and_other_architectures_stay_beside_each_other() -> None:
    dialect = rpm.Rpm("x86_64")
    old, new = Package("a", "1", "x86_64"), Package("a", "2", "x86_64")
    assert dialect.replaces(new, old)
    assert dialect.replaces(Package("a", "2", "noarch"), old)
    assert not dialect.replaces(new, Package("a", "1", "i686"))
    assert not dialect.replaces(
        Package("kernel", "2", "x86_64", parallel=True), Package("kernel", "1", "x86_64")
    )


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f >= 2", "g = 1", "h < 3", "lib(x)"])


def _joined(word: str, parts: list[str]) -> str:
    return f"({f' {word} '.join(parts)})"


NESTED = st.recursive(
    NAMES,
    lambda inner: st.builds(_joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    max_leaves=5,
)
WITH = st.builds(
    lambda one, word, other: f"({one} {word} {other})", NAMES, st.sampled_from(["with", "without"]), NAMES
)
RICH = st.one_of(
    NESTED.filter(lambda text: text.startswith("(")),
    WITH,
    st.builds(lambda a, b: f"({a} if {b})", NESTED, NESTED),
    st.builds(lambda a, b, c: f"({a} if {b} else {c})", NESTED, NESTED, NESTED),
)


@settings(max_examples=5, deadline=None)
@given(st.lists(RICH, min_size=30, max_size=60, unique=True), st.sets(st.integers(0, 5)))
def test_boolean_dependencies_are_met_as_rpm_says(
    tmp_path_factory: pytest.TempPathFactory, needs: list[str], there: set[int]
) -> None:
    gives = (
        "a",
        "b = 1",
        "c\nProvides: d",
        "e\nProvides: f = 2",
        "g = 1\nProvides: h = 1",
        "lib(x)\nProvides: h = 4",
    )
    scratch = tmp_path_factory.mktemp("rich")
    givers = [Rpm(f"giver{n}", lines=(f"Provides: {gives[n]}",)) for n in sorted(there)]
    asker = Rpm("asker", lines=tuple(f"Requires: {need}" for need in needs))
    *given_files, asker_file = rpms.build(scratch, [*givers, asker])
    (scratch / "root").mkdir()
    if given_files:
        rpms.install(scratch / "root", given_files)
    complaints = rpms.refused(scratch / "root", [asker_file])
    found = _read(asker_file)
    packages = [found, *map(_read, given_files)]
    world = World(Index(rpm.Rpm("x86_64"), packages), frozenset(packages))
    # rpm tells the text of what is not met; the reader keeps the order of the texts.
    argv = ("rpm", "-qp", "--qf", "[%{REQUIRENAME}\n]", asker_file)
    texts = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    unmet = {text for text, need in zip(texts, found.needs, strict=True) if not world.holds(need)}
    for text in unmet ^ {line.partition(" is needed by ")[0] for line in complaints}:
        # rpm keeps answers while it looks at one package, and was seen to mix up those of many conditions.
        (alone,) = rpms.build(scratch, [Rpm("alone", lines=(f"Requires: {text}",))])
        assert bool(rpms.refused(scratch / "root", [alone])) is (text in unmet), text


def test_conditions() -> None:
    expected: dict[str, Need] = {
        "(a)": Relation("a"),
        "(a >= 1 and (b or c))": AllOf((Relation("a", ">=", "1"), AnyOf((Relation("b"), Relation("c"))))),
        "(a if b else c)": When(Relation("b"), Relation("a"), Relation("c")),
        "(a unless b)": When(Relation("b"), Relation("a"), negated=True),
        "(python3dist(x) == 2 if python3dist(y))": When(
            Relation("python3dist(y)"), Relation("python3dist(x)", "=", "2")
        ),
    }
    for text, need in expected.items():
        assert parse(text) == need
        assert str(need)


@pytest.mark.parametrize(
    "text",
    ["(a", "(a b)", "(a and b or c)", "()", "(a and )", "(a) b", "(a if b if c)", "(" * 60 + "a" + ")" * 60],
)
def test_what_is_no_boolean_dependency_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\("):
        parse(text)
