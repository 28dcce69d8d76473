"""modprobe.d as kmod reads it. What each directive does was tried with kmod 30: `modprobe -n -v fs-vfat`."""

from __future__ import annotations

import pytest

from imgfix.errors import GuestError
from imgfix.facts.modprobe import in_initramfs, obstacles, read_rules, rules_of
from tests.fake_tree import FakeEntry, FakeTree, folder, link

Files = dict[str, "bytes | str | FakeEntry"]


def places(files: Files, *, old_tools: bool = False) -> list[str]:
    return [rule.place for rule in read_rules(FakeTree(files), old_tools=old_tools)]


def found(text: str, module: str, *needs: str) -> list[tuple[str, bool, str]]:
    rules = rules_of([("a", text)])
    return [(o.rule.place, o.certain, o.through) for o in obstacles(rules, module, needs)]


def test_files_come_in_the_order_of_their_names() -> None:
    files: Files = {
        "/lib": link("usr/lib"),
        "/usr/lib/modprobe.d/10-a.conf": "blacklist a\n",
        "/etc/modprobe.d/20-b.conf": "\nblacklist b\n",
        "/usr/local/lib/modprobe.d/05-c.conf": "blacklist c\n",
    }
    assert places(files) == [
        "/usr/local/lib/modprobe.d/05-c.conf:1",
        "/usr/lib/modprobe.d/10-a.conf:1",
        "/etc/modprobe.d/20-b.conf:2",
    ]


def test_a_name_counts_once() -> None:
    files: Files = {
        "/etc/modprobe.d/a.conf": "",
        "/usr/lib/modprobe.d/a.conf": "blacklist a\n",
        "/lib/modprobe.d/a.conf": "blacklist a\n",
        "/etc/modprobe.d/b.conf": link("/dev/null"),
        "/lib/modprobe.d/b.conf": "blacklist b\n",
        "/etc/modprobe.d/c.conf": link("gone"),
        "/lib/modprobe.d/c.conf": "blacklist c\n",
    }
    assert places(files) == ["/lib/modprobe.d/c.conf:1"]


def test_what_is_no_file_of_modprobe() -> None:
    files: Files = {
        "/etc/modprobe.d/a.conf~": "blacklist a\n",
        "/etc/modprobe.d/.hidden.conf": "blacklist a\n",
        "/etc/modprobe.d/README": "blacklist a\n",
        "/etc/modprobe.d/d.conf": folder(),
        "/etc/modprobe.conf": "blacklist a\n",
        "/run/modprobe.d/a.conf": "blacklist a\n",
    }
    assert places(files) == []


def test_old_tools_read_more() -> None:
    files: Files = {
        "/etc/modprobe.d/README": "blacklist a\n",
        "/etc/modprobe.d/b.conf": "blacklist a\n",
        "/etc/modprobe.d/b.conf.rpmsave": "blacklist a\n",
        "/etc/modprobe.conf": "blacklist a\n",
    }
    assert places(files, old_tools=True) == [
        "/etc/modprobe.conf:1",
        "/etc/modprobe.d/README:1",
        "/etc/modprobe.d/b.conf:1",
    ]


def test_a_damaged_file_is_named() -> None:
    with pytest.raises(GuestError, match=r"^/etc/modprobe\.d/a\.conf:2: a NUL byte"):
        places({"/etc/modprobe.d/a.conf": "#\n\0\n"})


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("install vfat /bin/true", ["a:1"]),
        ("blacklist vfat", ["a:1"]),
        ("alias fs-vfat off", ["a:1"]),
        ("alias fs-* null", ["a:1"]),
        ("install vf[a-z]t /bin/true", ["a:1"]),
        ("install vfat /bin/true\nblacklist vfat\ninstall vfat :", ["a:2", "a:1", "a:3"]),
        # the first install command is the one that counts
        ("install vfat modprobe -i vfat\ninstall vfat /bin/true", []),
        ("install vfat /bin/true\ninstall vfat modprobe -i vfat\ninstall vfat :", ["a:1"]),
        # loading by name is not what a mount does
        ("alias vfat off", []),
        ("alias fs-vfat vfat", []),
        ("blacklist fat\nblacklist vfat_\noptions vfat x=1", []),
    ],
)
def test_obstacles(text: str, lines: list[str]) -> None:
    assert found(text, "vfat", "fat") == [(line, True, "") for line in lines]


def test_obstacles_in_what_a_module_needs() -> None:
    text = "install fat /bin/true\nblacklist fat\ninstall vfat /usr/sbin/load"
    assert found(text, "vfat", "fat") == [("a:3", False, ""), ("a:1", True, "fat")]
    assert found(text, "vfat") == [("a:3", False, "")]


def test_in_an_initramfs() -> None:
    hooks = (
        ("etc/modprobe.d/b.conf", "blacklist x\n"),
        ("etc/modprobe.d/a.conf", "blacklist y\n"),
        ("usr/lib/modprobe.d/b.conf", "blacklist z\n"),
        ("lib/modprobe.d/c.conf", "blacklist w\n"),
        ("conf/conf.d/resume", "RESUME=x\n"),
    )
    names = [rule.directive.name for rule in in_initramfs(hooks)]
    assert names == ["y", "x", "w"]
