"""--chroot host with a real appliance: the guest's files over the second drive, its generator here, the image back."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgfix import appliance, sandbox
from imgfix.change import Rebuild, RebuildKind
from imgfix.facts.model import Filesystem, Storage
from imgfix.guest import Guest
from imgfix.host_chroot import HostChroot
from imgfix.interrupt import Interrupts
from imgfix.scratch import Scratch
from imgfix.tree import Kind
from tests.disks import phony
from tests.facts import cpio_reader
from tests.fake_tree import FakeEntry
from tests.native_guest import IMAGE, KERNEL, contents

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("refused")]


def lay(root: Path) -> None:
    """Write the guest's files below `root`; closed folders are closed last."""
    entries = {p: v if isinstance(v, FakeEntry) else FakeEntry(v) for p, v in contents().items()}
    for path, entry in entries.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind is Kind.LINK:
            place.symlink_to(entry.target)
        elif entry.kind is Kind.DIRECTORY:
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(entry.data())
    for path, entry in entries.items():
        if entry.kind is not Kind.LINK:
            (root / path.lstrip("/")).chmod(entry.entry().mode)


def test_a_real_guest_gets_the_image_that_its_generator_made_here(tmp_path: Path) -> None:
    sandbox.require()
    root, disk = tmp_path / "root", tmp_path / "disk.raw"
    lay(root)
    (root / "boot/initrd.img-old").hardlink_to(root / IMAGE.lstrip("/"))
    tar = phony.packed(root, tmp_path / "root.tar")
    with disk.open("wb") as stream:
        stream.truncate(96 << 20)
    told: list[tuple[str, ...]] = []
    with (
        Scratch() as scratch,
        appliance.launch(
            disk, writable=True, network=False, interrupts=Interrupts(), scratch=scratch.drive
        ) as running,
    ):
        running.call("mkfs", "ext4", "/dev/sda")
        running.call("mount", "/dev/sda", "/")
        running.call("tar_in", tar, "/")
        guest = Guest(running)
        uuid = str(running.call("vfs_uuid", "/dev/sda"))
        storage = Storage(None, (Filesystem("/dev/sda", "ext4", uuid, size=96 << 20, mountpoint="/"),))
        host = HostChroot(
            guest, scratch, (KERNEL,), storage, Interrupts(), lambda argv, *_: told.append(argv)
        )
        wanted = Rebuild(RebuildKind.INITRAMFS, IMAGE, (("generator", IMAGE),), "why", kernel=KERNEL)
        host.rebuild(wanted)
        host.rebuild(wanted)
        image = guest.read_file(IMAGE)
        assert guest.read_file("/boot/initrd.img-old") == b"old", "the other name of the old image"
        running.call("umount_all")
        running.finish()
        left = scratch.drive.parent
    packed = {item.path: item.content.decode() for item in cpio_reader.read(image)}
    assert f'UUID="{uuid}" TYPE="ext4">/dev/sda</device>' in packed["devices"]
    assert (packed["uid"], packed["modules"]) == ("0\n", f"{KERNEL}\n")
    assert [argv[0] for argv in told].count("generator") == 2
    assert len(told) == 4, "it is copied once"
    assert not left.exists()
