"""Draft: staged decisions show, the tree below does not change, and a model in memory agrees."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix import tree as files
from imgfix.change import AppendFile, Copy, Decision, Link, Noop, Remove, SetAttributes, WriteFile
from imgfix.draft import Draft
from imgfix.errors import GuestError
from imgfix.tree import Kind
from tests.fake_tree import FakeEntry, FakeTree, folder, link


@pytest.fixture
def base() -> FakeTree:
    return FakeTree(
        {
            "/etc/old": FakeEntry("old\n", mode=0o600, uid=7),
            "/etc/link": link("old"),
            "/etc/dangling": link("/run/new"),
            "/etc/d/inner": "inner\n",
            "/bin": link("usr/bin"),
            "/usr/bin/sh": "#!",
        }
    )


def test_a_written_file_shows(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(WriteFile("/etc/new", b"new\n", "", 0o640))
    assert draft.read_file("/etc/new") == b"new\n"
    assert draft.lstat("/etc/new") == FakeEntry("new\n", mode=0o640).entry()
    assert "new" in draft.listdir("/etc")
    assert base.lstat("/etc/new") is None


def test_an_existing_file_keeps_mode_and_owner(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(WriteFile("/etc/old", b"x", "", 0o644))
    entry = draft.lstat("/etc/old")
    assert entry is not None
    assert (entry.mode, entry.uid, entry.size) == (0o600, 7, 1)


def test_a_write_goes_through_links(base: FakeTree) -> None:
    draft = Draft(base)
    assert draft.stage(WriteFile("/etc/link", b"x", "")) == WriteFile("/etc/old", b"x", "")
    assert draft.stage(WriteFile("/etc/dangling", b"x", "")) == WriteFile("/run/new", b"x", "")
    assert draft.stage(WriteFile("/bin/tool", b"x", "")) == WriteFile("/usr/bin/tool", b"x", "")
    assert draft.listdir("/run") == ("new",)


def test_what_is_appended_stands_behind_what_is_there(base: FakeTree) -> None:
    draft = Draft(base)
    assert draft.stage(AppendFile("/etc/link", b"1", "")) == AppendFile("/etc/old", b"1", "")
    draft.stage(AppendFile("/etc/old", b"2", ""))
    assert draft.read_file("/etc/old") == b"old\n12"
    assert draft.lstat("/etc/old") == FakeEntry("old\n12", mode=0o600, uid=7).entry()
    assert base.read_file("/etc/old") == b"old\n"


def test_a_copy_holds_what_was_appended_before_it_and_nothing_later(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(AppendFile("/etc/old", b"1", ""))
    draft.stage(Copy("/etc/old", "/etc/backup", ""))
    draft.stage(AppendFile("/etc/old", b"2", ""))
    assert (draft.read_file("/etc/backup"), draft.read_file("/etc/old")) == (b"old\n1", b"old\n12")


def test_a_write_and_a_removal_take_what_was_appended_along(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(AppendFile("/etc/old", b"1", ""))
    draft.stage(WriteFile("/etc/old", b"new", ""))
    assert draft.read_file("/etc/old") == b"new"
    draft.stage(AppendFile("/etc/old", b"2", ""))
    assert draft.read_file("/etc/old") == b"new2"
    draft.stage(Remove("/etc/old", ""))
    with pytest.raises(GuestError, match="to append to"):
        draft.stage(AppendFile("/etc/old", b"3", ""))


@pytest.mark.parametrize("path", ["/etc/d", "/etc/dangling", "/nowhere"])
def test_nothing_is_appended_to_what_is_no_file(base: FakeTree, path: str) -> None:
    with pytest.raises(GuestError, match="no such regular file in the guest, to append to"):
        Draft(base).stage(AppendFile(path, b"1", ""))


def test_a_removed_link_is_itself_removed(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(Remove("/etc/link", ""))
    assert draft.lstat("/etc/link") is None
    assert draft.read_file("/etc/old") == b"old\n"


def test_a_removal_below_a_link_is_resolved(base: FakeTree) -> None:
    assert Draft(base).stage(Remove("/bin/sh", "")) == Remove("/usr/bin/sh", "")


def test_a_removed_folder_hides_what_was_in_it(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(WriteFile("/etc/d/staged", b"", ""))
    draft.stage(Remove("/etc/d", ""))
    assert draft.lstat("/etc/d/inner") is None
    assert draft.lstat("/etc/d/staged") is None
    assert draft.listdir("/etc/d") == ()
    draft.stage(WriteFile("/etc/d/fresh", b"", ""))
    assert draft.listdir("/etc/d") == ("fresh",)


def test_a_name_that_only_begins_alike_is_not_hidden() -> None:
    draft = Draft(FakeTree({"/a/x": "", "/ab/x": ""}))
    draft.stage(Remove("/a", ""))
    assert draft.read_file("/ab/x") == b""


def test_a_removed_link_makes_way_for_a_file(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(Remove("/etc/link", ""))
    assert draft.stage(WriteFile("/etc/link", b"x", "")) == WriteFile("/etc/link", b"x", "")
    assert draft.read_file("/etc/old") == b"old\n"


def test_a_link_hides_the_file_it_replaces(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(Link("/etc/old", "/dev/null", ""))
    with pytest.raises(GuestError, match="/etc/old: no such regular file"):
        draft.read_file("/etc/old")
    draft.stage(Link("/etc/d", "/usr", ""))
    assert draft.listdir("/etc/d") == ()


def test_a_copy_holds_what_its_source_held_then(base: FakeTree) -> None:
    draft = Draft(base)
    draft.stage(Copy("/etc/link", "/etc/one", ""))
    draft.stage(WriteFile("/etc/old", b"changed", ""))
    draft.stage(Copy("/etc/old", "/etc/two", ""))
    draft.stage(Copy("/etc/one", "/etc/three", ""))
    assert [draft.read_file(f"/etc/{n}") for n in ("one", "two", "three")] == [
        b"old\n",
        b"changed",
        b"old\n",
    ]
    entry = draft.lstat("/etc/one")
    assert entry is not None
    assert (entry.mode, entry.uid) == (0o600, 7)


def test_attributes_are_those_of_the_file_behind_a_link_and_leave_the_rest(base: FakeTree) -> None:
    draft = Draft(base)
    assert draft.stage(SetAttributes("/etc/link", 0o640, 1, 2, "")) == SetAttributes(
        "/etc/old", 0o640, 1, 2, ""
    )
    entry = draft.lstat("/etc/old")
    assert entry is not None
    assert (entry.kind, entry.mode, entry.uid, entry.gid, entry.size) == (Kind.FILE, 0o640, 1, 2, 4)
    assert draft.read_file("/etc/old") == b"old\n"
    draft.stage(SetAttributes("/etc/d", 0o700, 0, 0, ""))
    assert draft.listdir("/etc/d") == ("inner",)


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (SetAttributes("/etc/nothing", 0o644, 0, 0, ""), "/etc/nothing: not in the guest"),
        (Copy("/etc/nothing", "/etc/copy", ""), "/etc/nothing: no such regular file"),
        (WriteFile("/etc/d", b"", ""), "/etc/d: a folder"),
        (WriteFile("/etc/old/below", b"", ""), "/etc/old: not a folder"),
    ],
)
def test_what_cannot_be_done_is_refused(base: FakeTree, decision: Decision, message: str) -> None:
    with pytest.raises(GuestError, match=message):
        Draft(base).stage(decision)


def test_what_is_no_edit_passes_through(base: FakeTree) -> None:
    assert Draft(base).stage(Noop("why")) == Noop("why")


# -- against a dict

_FOLDERS = ("/", "/a", "/a/b")
_PATHS = tuple(posixpath.join(above, name) for above in _FOLDERS for name in ("x", "y"))
_BASE = {"/x": b"x", "/a/x": b"ax", "/a/b/x": b"abx", "/a/b/y": b"aby"}
_WRITES = st.builds(WriteFile, st.sampled_from(_PATHS), st.binary(max_size=3), st.just(""))
_REMOVALS = st.builds(Remove, st.sampled_from((*_PATHS, "/a", "/a/b")), st.just(""))


@given(st.lists(st.one_of(_WRITES, _REMOVALS), max_size=12))
@settings(max_examples=150, deadline=None)
def test_a_draft_is_like_a_dict(decisions: list[Decision]) -> None:
    draft, model = Draft(FakeTree(_BASE)), dict(_BASE)
    for decision in decisions:
        draft.stage(decision)
        if isinstance(decision, WriteFile):
            model[decision.path] = decision.content
        elif isinstance(decision, Remove):
            gone = decision.path
            model = {p: c for p, c in model.items() if p != gone and not p.startswith(gone + "/")}
    assert {p: draft.read_file(p) for p in _PATHS if draft.lstat(p)} == model
    for path in _FOLDERS:
        below = {p[len(path.rstrip("/")) + 1 :].split("/")[0] for p in model if files_below(path, p)}
        listed = {n for n in draft.listdir(path) if files.is_file(draft, posixpath.join(path, n))}
        assert listed == {n for n in below if posixpath.join(path, n) in model}
        assert below <= set(draft.listdir(path))


def files_below(above: str, path: str) -> bool:
    return path.startswith(above.rstrip("/") + "/")


def test_folders_of_new_files_are_there() -> None:
    draft = Draft(FakeTree({"/empty": folder(0o700)}))
    draft.stage(WriteFile("/new/deep/file", b"", ""))
    entry = draft.lstat("/new/deep")
    assert entry is not None
    assert (entry.kind, entry.mode) == (Kind.DIRECTORY, 0o755)
    assert draft.listdir("/") == ("empty", "new")
