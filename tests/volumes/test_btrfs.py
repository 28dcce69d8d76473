"""Which subvolume is the root: layouts of distributions, as `btrfs subvolume list` tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from imgfix.appliance import Appliance, GuestfsError
from imgfix.volumes import btrfs
from tests.fake_tree import FakeEntry, FakeTree


@dataclass(frozen=True, slots=True)
class _Shell:
    """An appliance that answers what the btrfs tool would; the real one is asked in tests/guests/test_volumes.py."""

    answer: str
    status: int = 0

    def shell(self, script: str) -> tuple[int, str]:
        return self.status, self.answer


def _listing(default: int, volumes: Mapping[int, str], sealed: tuple[int, ...] = ()) -> str:
    def lines(numbers: Any) -> str:
        return "".join(f"ID {n} gen 10 top level 5 path {volumes[n]}\n" for n in numbers)

    top = "ID 5 (FS_TREE)" if default == 5 else f"ID {default} gen 10 top level 5 path {volumes[default]}"
    return f"{top}\n{lines(volumes)}--\n{lines(sealed)}".rstrip("\n")


def _system(path: str, fstab: str) -> dict[str, str | FakeEntry]:
    return {f"{path}/etc/os-release": "ID=x\n", f"{path}/etc/fstab": fstab}


def _roots(answer: str, files: Mapping[str, str | FakeEntry]) -> list[str]:
    appliance = cast(Appliance, _Shell(answer))
    return [v.path for v in btrfs.roots(appliance, FakeTree(files))]


def test_ubuntu_with_timeshift() -> None:
    fstab = "UUID=1 / btrfs defaults,subvol=@ 0 1\n"
    volumes = {256: "@", 257: "@home", 300: "timeshift-btrfs/snapshots/2024-01-01_10-00-00/@"}
    files = {**_system("/@", fstab), **_system(f"/{volumes[300]}", fstab), "/@home/x": ""}
    assert _roots(_listing(5, volumes), files) == ["@"]


def test_fedora_names_it_by_a_slash() -> None:
    files = {**_system("/root", "UUID=1 / btrfs subvol=/root,compress=zstd:1 0 0\n"), "/home/x": ""}
    assert _roots(_listing(5, {256: "home", 257: "root"}), files) == ["root"]


def test_suse_boots_its_default_subvolume() -> None:
    fstab = "UUID=1 / btrfs defaults 0 0\nUUID=1 /var btrfs subvol=/@/var 0 0\n"
    volumes = {
        256: "@",
        259: "@/var",
        266: "@/.snapshots/1/snapshot",
        270: "@/.snapshots/2/snapshot",
        280: "@/.snapshots/3/snapshot",
    }
    files: dict[str, str | FakeEntry] = {}
    for number in (266, 270, 280):
        files |= _system(f"/{volumes[number]}", fstab)
    assert _roots(_listing(266, volumes, sealed=(270,)), files) == ["@/.snapshots/1/snapshot"]
    assert _roots(_listing(280, volumes, sealed=(266, 270)), files) == ["@/.snapshots/3/snapshot"]


def test_a_sealed_default_is_a_root_and_says_so() -> None:
    volumes = {266: "@/.snapshots/1/snapshot"}
    appliance = cast(Appliance, _Shell(_listing(266, volumes, sealed=(266,))))
    (root,) = btrfs.roots(appliance, FakeTree(_system("/@/.snapshots/1/snapshot", "UUID=1 / btrfs ro 0 0\n")))
    assert (root.sealed, root.options) == (True, ("subvolid=266",))


def test_no_subvolumes_at_all() -> None:
    assert _roots(_listing(5, {}), _system("", "UUID=1 / btrfs defaults 0 0\n")) == [""]


def test_by_number() -> None:
    fstab = "UUID=1 / btrfs subvolid=257 0 0\n"
    files = {**_system("/old", fstab), **_system("/new", fstab)}
    assert _roots(_listing(5, {256: "old", 257: "new"}), files) == ["new"]


def test_two_systems_are_both_found() -> None:
    files = {
        **_system("/one", "UUID=1 / btrfs subvol=one 0 0\n"),
        **_system("/two", "UUID=1 / btrfs subvol=two 0 0\n"),
    }
    assert _roots(_listing(5, {256: "one", 257: "two"}), files) == ["one", "two"]


def test_the_kernel_command_line_alone_names_it() -> None:
    files = {**_system("/system", ""), **_system("/kept", "")}
    assert _roots(_listing(5, {256: "system", 257: "kept"}, sealed=(257,)), files) == ["system"]
    assert _roots(_listing(5, {256: "data"}), {"/data/x": ""}) == []


def test_links_lead_to_the_subvolume_itself() -> None:
    files: dict[str, str | FakeEntry] = {
        "/@/usr/lib/os-release": "ID=x\n",
        "/@/etc/fstab": "",
        "/@/etc/os-release": FakeEntry(),
    }
    top = FakeTree(files)
    below = btrfs.Below(top, "/@")
    assert below.lstat("/") == top.lstat("/@")
    assert below.listdir("/usr") == ("lib",)
    assert below.read_file("/usr/lib/os-release") == b"ID=x\n"


def test_a_tool_that_fails_is_told() -> None:
    with pytest.raises(GuestfsError, match="not a btrfs"):
        btrfs.roots(cast(Appliance, _Shell("ERROR: not a btrfs filesystem", 1)), FakeTree({}))
