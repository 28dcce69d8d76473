"""The reports of a real apply, compared with what the disks and the guest really are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from imgfix import __version__, published
from tests.guests.workshop import USER, Applied, sha256
from tests.reports.test_html import Reader

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("el9")]


@pytest.fixture(scope="module")
def report(el9: Applied) -> dict[str, Any]:
    """The report as JSON."""
    data = json.loads((el9.vhd.parent / "el9.json").read_text())
    assert isinstance(data, dict)
    return data


def test_it_is_what_its_schema_says_and_tells_the_digests_of_both_disks(
    el9: Applied, report: dict[str, Any]
) -> None:
    jsonschema.Draft202012Validator(json.loads(published.schema("report"))).validate(report)
    assert report["outcome"] == "ready"
    assert report["source"]["sha256"] == el9.sha256
    assert report["output"]["sha256"] == sha256(el9.vhd)
    assert report["output"]["file_size"] == el9.vhd.stat().st_size
    assert report["versions"]["imgfix"] == __version__
    assert all(report["versions"][name] for name in ("libguestfs", "qemu", "qemu_img"))
    command = next(step["command"] for step in report["next"] if "az disk create" in step["command"])
    assert "--hyper-v-generation V1 --architecture x64" in command
    assert f"--upload-size-bytes {el9.vhd.stat().st_size}" in command


def test_changed_files_are_in_the_guest_as_told(el9_opened: Any, report: dict[str, Any]) -> None:
    files = {file["path"]: file for file in report["files"]}
    assert {"/etc/fstab", "/etc/default/grub", "/boot/grub2/grub.cfg"} <= set(files)
    for path, file in files.items():
        after = file["after"]
        if after is None:
            assert not el9_opened.exists(path), path
            continue
        found = el9_opened.lstatns(path)
        told = (int(after["mode"], 8), after["uid"], after["gid"])
        assert (found["st_mode"] & 0o7777, found["st_uid"], found["st_gid"]) == told, path
        if after["sha256"]:
            assert el9_opened.checksum("sha256", path) == after["sha256"], path
    assert "-/dev/mapper/rhel-swap" in "\n".join(files["/etc/fstab"]["diff"])
    # what a rebuild makes anew is told as well, with both digests
    (image,) = [
        f for path, f in files.items() if path.startswith("/boot/initramfs-") and path.endswith(".img")
    ]
    assert image["before"]["sha256"] != image["after"]["sha256"]


def test_the_layout_and_the_drivers_before_and_after(report: dict[str, Any]) -> None:
    before, after = ({p["name"]: p for p in report[f"disk_{when}"]["pieces"]} for when in ("before", "after"))
    assert set(before) - set(after) == {"/dev/rhel/swap"}
    assert before["/dev/sda2"]["content"] == "LVM"
    changed = [
        (driver["name"], driver["before"], driver["after"])
        for kernel in report["kernels"]
        for driver in kernel["drivers"]
        if driver["before"] != driver["after"]
    ]
    assert {("hv_vmbus", "module", "initramfs"), ("hv_storvsc", "module", "initramfs")} <= set(changed)


def test_the_page_is_one_and_belongs_to_who_asked(el9: Applied) -> None:
    page = el9.vhd.parent / "el9.html"
    assert page.stat().st_uid == (USER if page.parent.stat().st_uid == USER else page.parent.stat().st_uid)
    read = Reader(page.read_text())
    assert "Ready for Azure" in read.texts
    assert sha256(el9.vhd) in read.texts
    assert not read.tags & {"script", "img", "link"}
    assert Path(page).stat().st_size < 400_000
