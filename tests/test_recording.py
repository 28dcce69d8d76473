"""What becomes of the planned files: states before and after, each file once, with the first reason."""

from __future__ import annotations

import pytest

from imgfix.change import (
    AppendFile,
    Copy,
    Link,
    Rebuild,
    RebuildKind,
    Remove,
    RunCommand,
    SetAttributes,
    WriteFile,
)
from imgfix.plan import Item, Plan
from imgfix.recording import MAX_TEXT, Recorder
from imgfix.tree import Kind
from tests.fake_tree import FakeEntry, FakeTree, link
from tests.reports.sample import Read

FILES: dict[str, bytes | str | FakeEntry] = {
    "/etc/a": "a\n",
    "/etc/large": "x" * (MAX_TEXT + 1),
    "/boot/grub2/grub.cfg": FakeEntry("menu\n", mode=0o600),
    "/boot/grub/grub.cfg": FakeEntry("password_pbkdf2 root x\n", mode=0o600),
    "/real/file": "behind a link\n",
    "/by": link("/real"),
}
ITEMS = (
    Item("one", WriteFile("/etc/a", b"b\n", "first reason")),
    Item("two", WriteFile("/etc/a", b"c\n", "second reason")),
    Item("one", Copy("/etc/a", "/etc/copy", "kept")),
    Item("one", AppendFile("/etc/large", b"y", "more")),
    Item("one", SetAttributes("/etc/copy", 0o600, 1, 2, "private")),
    Item("one", Link("/etc/link", "/etc/a", "enabled")),
    Item("one", Remove("/real/file", "gone")),
)
PROGRAMS = (
    Item("grub", Rebuild(RebuildKind.GRUB_CONFIG, "/boot/grub2/grub.cfg", (), "out of date")),
    Item("grub", Rebuild(RebuildKind.GRUB_CONFIG, "/boot/grub/grub.cfg", (), "out of date")),
    Item("commands", RunCommand("name", ("true",), "asked for", creates="/etc/made", stamp="/var/stamp")),
)


def test_each_file_is_told_once_as_it_was_and_is() -> None:
    plan = Plan((*ITEMS, *PROGRAMS))
    recorder = Recorder(plan)
    before = FakeTree(FILES)
    recorder.look(Read(before))
    done = FakeTree(
        {
            **before.edited(plan.edits)._entries,
            "/boot/grub2/grub.cfg": FakeEntry("new\n", mode=0o600),
            "/etc/made": "",
        }
    )
    changes = {change.path: change for change in recorder.look_again(Read(done))}
    assert set(changes) == {
        *(
            "/etc/a",
            "/etc/copy",
            "/etc/large",
            "/etc/link",
            "/real/file",
            "/boot/grub2/grub.cfg",
            "/etc/made",
        ),
    }
    first = changes["/etc/a"]
    assert first.before is not None
    assert first.after is not None
    assert (first.step, first.reason, first.before.text, first.after.text) == (
        "one",
        "first reason",
        "a\n",
        "c\n",
    )
    made = changes["/etc/copy"].after
    assert changes["/etc/copy"].before is None
    assert made is not None
    assert (made.mode, made.uid, made.gid, made.text, made.hidden) == (
        0o600,
        1,
        2,
        None,
        "others may not read it",
    )
    large = changes["/etc/large"]
    assert large.after is not None
    assert (large.after.text, large.after.hidden) == (None, f"{MAX_TEXT + 2} bytes")
    assert large.after.sha256 is not None
    pointed = changes["/etc/link"].after
    assert pointed is not None
    assert (pointed.kind, pointed.target) == (Kind.LINK, "/etc/a")
    assert changes["/real/file"].after is None
    menu = changes["/boot/grub2/grub.cfg"].after
    assert menu is not None
    assert menu.text == "new\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [("/boot/grub2/grub.cfg", "menu\n"), ("/boot/grub/grub.cfg", None)],
    ids=["menu", "password"],
)
def test_a_menu_is_shown_unless_it_holds_a_password(path: str, text: str | None) -> None:
    recorder = Recorder(Plan((Item("grub", Remove(path, "gone")),)))
    recorder.look(Read(FakeTree(FILES)))
    (change,) = recorder.look_again(Read(FakeTree({})))
    assert change.before is not None
    assert change.before.text == text


def test_a_path_through_a_link_is_the_file_behind_it() -> None:
    recorder = Recorder(Plan((Item("one", Remove("/by/file", "gone")),)))
    recorder.look(Read(FakeTree(FILES)))
    (change,) = recorder.look_again(Read(FakeTree({})))
    assert change.before is not None
    assert change.before.text == "behind a link\n"
