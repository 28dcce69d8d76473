"""The plan: steps see each other's edits, overtaken edits fall away, rebuilds run once and in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgfix import tree as files
from imgfix.change import (
    Advice,
    AppendFile,
    Copy,
    Decision,
    Edit,
    InstallPackages,
    Link,
    Noop,
    Rebuild,
    RebuildKind,
    Remove,
    RemoveSwapDevice,
    RunCommand,
    SetAttributes,
    WriteFile,
)
from imgfix.draft import Draft
from imgfix.errors import GuestError, ParseError
from imgfix.facts.model import Distro, Facts, Storage
from imgfix.plan import Item, Plan, build_plan
from imgfix.profile import Profile
from imgfix.profile_tables import File
from imgfix.tree import Kind, Tree
from tests.fake_tree import FakeEntry, FakeTree

FACTS = Facts(Distro("debian", (), "12", "Debian 12", "debian"), (), (), Storage("gpt", ()))
PROFILE = Profile(name="test")


def _plan(*decisions: Decision) -> Plan:
    return Plan(tuple(Item("step", d) for d in decisions))


def _write(path: str, text: str = "") -> WriteFile:
    return WriteFile(path, text.encode(), "")


def _append(path: str, text: str) -> AppendFile:
    return AppendFile(path, text.encode(), "")


def _remove(path: str) -> Remove:
    return Remove(path, "")


def _link(path: str) -> Link:
    return Link(path, "/target", "")


def _set(path: str, uid: int) -> SetAttributes:
    return SetAttributes(path, 0o600, uid, 0, "")


def _copy(source: str, path: str) -> Copy:
    return Copy(source, path, "")


@pytest.mark.parametrize(
    ("staged", "final"),
    [
        ([_write("/a", "1"), _write("/a", "2")], [_write("/a", "2")]),
        ([_write("/a"), _remove("/a")], [_remove("/a")]),
        ([_remove("/a"), _remove("/a")], [_remove("/a")]),
        ([_remove("/a/b"), _write("/a/c"), _remove("/a")], [_remove("/a")]),
        ([_write("/ab"), _remove("/a")], [_write("/ab"), _remove("/a")]),
        ([_remove("/a"), _write("/a")], [_remove("/a"), _write("/a")]),
        ([_remove("/a"), _link("/a"), _link("/a")], [_remove("/a"), _link("/a")]),
        ([_remove("/a"), _write("/a/b")], [_remove("/a"), _write("/a/b")]),
        ([_write("/a"), _link("/a")], [_link("/a")]),
        (
            [_write("/a", "1"), _copy("/a", "/b"), _write("/a", "2")],
            [_write("/a", "1"), _copy("/a", "/b"), _write("/a", "2")],
        ),
        ([_write("/b"), _copy("/a", "/b")], [_copy("/a", "/b")]),
        ([_write("/a"), _set("/a", 1)], [_write("/a"), _set("/a", 1)]),
        ([_set("/a", 1), _set("/a", 2)], [_set("/a", 2)]),
        ([_set("/a", 1), _remove("/a")], [_remove("/a")]),
        ([_write("/a", "1"), _set("/a", 1), _write("/a", "2")], [_write("/a", "2"), _set("/a", 1)]),
        ([_set("/a", 1), _write("/b")], [_set("/a", 1), _write("/b")]),
    ],
)
def test_edits_collapse(staged: list[Edit], final: list[Edit]) -> None:
    assert list(_plan(*staged).edits) == final


def test_each_rebuild_runs_once_and_in_order() -> None:
    def rebuild(kind: RebuildKind, target: str, why: str = "") -> Rebuild:
        return Rebuild(kind, target, (("true",),), why)

    grub = rebuild(RebuildKind.GRUB_CONFIG, "/boot/grub/grub.cfg")
    second = rebuild(RebuildKind.INITRAMFS, "/boot/b")
    first = rebuild(RebuildKind.INITRAMFS, "/boot/a", "drivers")
    again = rebuild(RebuildKind.INITRAMFS, "/boot/a", "swap")
    depmod = rebuild(RebuildKind.DEPMOD, "6.1")
    assert _plan(grub, second, first, again, depmod).rebuilds == (depmod, second, first, grub)


def test_kinds_of_items_are_told_apart() -> None:
    install, swap = InstallPackages("apt", ("gdisk",), ""), RemoveSwapDevice("/dev/sda2", 2, False, "")
    plan = _plan(Noop(""), Advice("mind"), install, swap, _write("/a"))
    assert [i.decision for i in plan.changes] == [install, swap, _write("/a")]
    assert [i.decision for i in plan.advice] == [Advice("mind")]
    assert plan.installs == (install,)
    assert plan.swap_devices == (swap,)


def test_commands_keep_the_order_of_the_profile() -> None:
    one, two = RunCommand("b", ("b",), ""), RunCommand("a", ("a",), "", stamp="/s", token="t")
    plan = _plan(one, _write("/a"), two)
    assert plan.commands == (one, two)
    assert len(plan.changes) == 3


_PATHS = ("/d", "/d/x", "/d/y", "/e")
_STAGED = st.lists(
    st.one_of(
        st.builds(
            WriteFile,
            st.sampled_from(_PATHS[1:]),
            st.sampled_from([b"1", b"2"]),
            st.just(""),
            st.sampled_from([0o600, 0o644]),
        ),
        st.builds(_remove, st.sampled_from(_PATHS[1:])),
        st.builds(_link, st.just("/d/y")),
        st.builds(_set, st.sampled_from(_PATHS), st.integers(0, 3)),
        st.builds(_copy, st.just("/d/x"), st.just("/e")),
    ),
    max_size=10,
)


@given(_STAGED)
@example(
    [
        WriteFile("/d/x", b"1", "", 0o600),
        _copy("/d/x", "/e"),
        _remove("/d/x"),
        _remove("/e"),
        WriteFile("/d/x", b"1", "", 0o600),
    ]
)
@settings(max_examples=200, deadline=None)
def test_what_is_left_of_the_edits_does_what_all_of_them_do(staged: list[Edit]) -> None:
    base = FakeTree({"/d/x": FakeEntry("x", mode=0o640, uid=9), "/d/y": "y", "/e": "e", "/target": "t"})
    draft, kept = Draft(base), []
    for edit in staged:
        is_there = draft.lstat(edit.path if not isinstance(edit, Copy) else edit.source) is not None
        if is_there or isinstance(edit, WriteFile | Link):
            try:
                kept.append(draft.stage(edit))
            except GuestError:
                continue
    done = base
    for edit in _plan(*kept).edits:
        # What made the file may have been overtaken, and then there is nothing to remove.
        if done.lstat(edit.path) is not None or not isinstance(edit, Remove):
            done = done.edited([edit])
    for path in (*_PATHS, "/target"):
        made, shown = done.lstat(path), draft.lstat(path)
        assert (made and replace(made, size=0)) == (shown and replace(shown, size=0)), path
        if shown is not None and shown.kind is Kind.FILE:
            assert done.read_file(path) == draft.read_file(path)


def test_a_file_of_the_profile_that_a_step_edits_is_refused() -> None:
    profile = Profile(name="test", files={"/log": File(content="mine")})
    with pytest.raises(
        GuestError, match="files: /log is a file of the profile's, and the step b changes it too"
    ):
        build_plan([_Appender("b")], profile, FACTS, FakeTree({"/log": "a"}))
    build_plan([_Appender("b")], Profile(name="test", files={"/log": None}), FACTS, FakeTree({"/log": "a"}))


@dataclass(frozen=True, slots=True)
class _Appender:
    """A step that adds its name to /log and says what it read."""

    name: str
    requirements: tuple[str, ...] = ()

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        before = files.read(tree, "/log")
        yield WriteFile("/log", before + self.name.encode(), before.decode())


@dataclass(frozen=True, slots=True)
class _Broken:
    error: GuestError
    name: str = "broken"
    requirements: tuple[str, ...] = ()

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        yield Noop("so far so good")
        raise self.error


def test_steps_see_what_earlier_ones_decided() -> None:
    plan = build_plan([_Appender("b"), _Appender("c")], PROFILE, FACTS, FakeTree({"/log": "a"}))
    assert plan.edits == (WriteFile("/log", b"abc", "ab"),)
    assert [i.step for i in plan.items] == ["b", "c"]


def test_an_error_names_the_step_once_and_keeps_its_kind_line_and_hint() -> None:
    with pytest.raises(ParseError) as caught:
        build_plan(
            [_Broken(ParseError("/etc/x:3: bad", line=3, hint="mend it"))], PROFILE, FACTS, FakeTree({})
        )
    error = caught.value
    assert str(error) == error.message == "broken: /etc/x:3: bad"
    assert (error.line, error.hint) == (3, "mend it")


def test_what_is_appended_to_stays_and_each_addition_does() -> None:
    edits = (
        _write("/boot/a"),
        Copy("/boot/a", "/boot/a.bak", ""),
        _append("/boot/a", "1"),
        _append("/boot/a", "2"),
    )
    assert _plan(*edits).edits == edits


def test_a_later_write_overtakes_what_was_appended() -> None:
    assert _plan(_append("/boot/a", "1"), _write("/boot/a")).edits == (_write("/boot/a"),)
