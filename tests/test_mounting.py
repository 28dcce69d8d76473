"""What of a guest's fstab is mounted, in which order, and what is missing; the real disks are in tests/guests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from imgfix.appliance import Appliance, GuestfsError
from imgfix.errors import GuestError, ImageError, ParseError
from imgfix.facts.model import Encrypted, Filesystem, LogicalVolume, Storage
from imgfix.guest import Guest
from imgfix.mounting import _Mounter
from imgfix.volumes.mount import Mount
from tests.fake_tree import FakeEntry, FakeTree, folder, link

ROOT = Filesystem("/dev/sda1", "ext4", "0a34", partition=1)
STORAGE = Storage(
    "gpt",
    (
        ROOT,
        Filesystem("/dev/sda2", "ext4", "b007", "boot", partition=2, partuuid="aa-02"),
        Filesystem("/dev/sda3", "vfat", "4F2A-11B0", partition=3, partlabel="esp"),
        Filesystem("/dev/sda4", "reiserfs", "4e15", partition=4),
        Filesystem("/dev/sys/usr", "xfs", "05e4"),
        Filesystem("/dev/sys/data", "btrfs", "bb"),
    ),
    (LogicalVolume("sys", "usr", "/dev/sys/usr"), LogicalVolume("sys", "data", "/dev/sys/data")),
)
FOLDERS = ("/boot/efi", "/usr/local", "/var/log", "/home", "/data/deep", "/srv")


class _Guest(FakeTree):
    def forget(self) -> None:
        """Nothing is cached."""

    def free_bytes(self, path: str) -> int:
        return len(path)


class _Appliance:
    """Takes mounts; those of `dirty` devices only once they may be written to, those of `broken` ones never."""

    def __init__(self, dirty: tuple[str, ...] = (), broken: tuple[str, ...] = ()) -> None:
        self.mounted: list[str] = []
        self._dirty, self._broken = set(dirty), broken

    def call(self, verb: str, *args: object, **_: object) -> Any:
        if verb == "blockdev_setrw":
            self._dirty.discard(str(args[0]))
        elif verb == "mount_options":
            options, device, place = map(str, args)
            if device in self._broken or device in self._dirty:
                raise GuestfsError(verb, "journal")
            self.mounted.append(f"{device} {place} {options}")
        else:
            assert verb == "blockdev_setro", verb


def _mounted(
    fstab: str,
    files: Mapping[str, str | FakeEntry] | None = None,
    *,
    storage: Storage = STORAGE,
    appliance: _Appliance | None = None,
) -> tuple[list[str], Storage]:
    tree = {"/etc/fstab": fstab, **dict.fromkeys(FOLDERS, folder()), **(files or {})}
    taker = appliance or _Appliance()
    mounter = _Mounter(cast(Appliance, taker), cast(Guest, _Guest(tree)), storage, set())
    _, found = mounter.mount(Mount("/dev/sda1", "/"))
    return taker.mounted, found


def test_parents_come_first_by_whatever_they_are_named() -> None:
    mounted, storage = _mounted(
        "PARTLABEL=esp /boot/efi vfat umask=077 0 1\n"
        "LABEL=boot /boot ext4 defaults 0 2\n"
        "/dev/mapper/sys-data /var/log btrfs compress=zstd,subvol=/@log 0 0\n"
        "/dev/sys/data /home btrfs subvolid=257 0 0\n"
        "UUID=05E4 /usr/ xfs ro 0 0\n"
        "UUID=0a34 / ext4 defaults 0 1\n"
    )
    assert mounted == [
        "/dev/sda2 /boot ro",
        "/dev/sys/data /home subvolid=257,ro",
        "/dev/sys/usr /usr ro",
        "/dev/sda3 /boot/efi ro",
        "/dev/sys/data /var/log subvol=/@log,ro",
    ]
    places = {f.device: (f.mountpoint, f.free) for f in storage.filesystems}
    assert places["/dev/sda1"] == ("/", 1)
    assert places["/dev/sys/data"] == ("/home", 5)
    assert places["/dev/sda4"] == (None, None)
    assert (storage.absent, storage.replayed) == ((), ())


def test_what_is_no_volume_of_this_disk_is_left_alone() -> None:
    mounted, storage = _mounted(
        "proc /proc proc defaults\n"
        "tmpfs /tmp tmpfs size=1g 0 0\n"
        "/home/www /srv none bind\n"
        "/home/www /srv none defaults,rbind 0 0\n"
        "/images/x.iso /data iso9660 loop 0 0\n"
        "nas:/export /data nfs defaults 0 0\n"
        "/dev/sda2 none swap sw 0 0\n"
        "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n"
        "UUID=dead /backup ext4 nofail 0 2\n"
        "/dev/sdb1 /mnt/nas ext4 defaults 0 2\n"
        "UUID=dead /var ext4 nofail 0 2\n"
        "UUID=4e15 /data reiserfs defaults 0 2\n"
    )
    assert mounted == []
    assert storage.absent == ("/backup", "/mnt/nas", "/var", "/data")


def test_links_of_the_guest_are_followed_in_the_guest() -> None:
    files: dict[str, str | FakeEntry] = {"/var/home/x": "", "/export": link("/var/home")}
    assert _mounted("UUID=bb /export btrfs defaults 0 0\n", files)[0] == ["/dev/sys/data /var/home ro"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "UUID=dead /var ext4 defaults 0 2",
            ["/etc/fstab:2: UUID=dead for /var is not on this disk", "several disks"],
        ),
        ("/dev/sdb1 /usr ext4", ["/dev/sdb1 for /usr is not on this disk"]),
        (
            "UUID=4e15 /home reiserfs defaults 0 2",
            ["/home is reiserfs, which imgfix can neither mount nor check", "ext4"],
        ),
        (
            "UUID=bb /missing btrfs defaults 0 0",
            ["/dev/sys/data has no mount point /missing", "make the folder"],
        ),
    ],
)
def test_a_system_that_is_not_whole_is_refused(line: str, words: list[str]) -> None:
    with pytest.raises(GuestError) as caught:
        _mounted(f"# system\n{line}\n")
    told = f"{caught.value.message} {caught.value.hint}"
    assert [word for word in words if word not in told] == [], told


def test_a_missing_part_may_be_on_an_encrypted_volume() -> None:
    storage = Storage("gpt", (ROOT,), encrypted=(Encrypted("/dev/sda9", "c0de"),))
    with pytest.raises(GuestError, match="or on an encrypted volume of it") as caught:
        _mounted("/dev/mapper/home /home ext4 defaults 0 2\n", storage=storage)
    assert "/dev/sda9 (LUKS c0de)" in str(caught.value.hint)


def test_a_broken_line_is_refused() -> None:
    with pytest.raises(ParseError, match=r"/etc/fstab:2: .* it says where"):
        _mounted("UUID=0a34 / ext4\nUUID=1\n")


def test_what_need_not_be_there_does_not_stop_the_rest() -> None:
    broken = _Appliance(broken=("/dev/sys/data",))
    fstab = (
        "UUID=bb /home btrfs nofail 0 0\nUUID=05e4 /gone xfs noauto 0 0\n"
        "UUID=b007 /boot ext4 nofail,noauto 0 2\n"
    )
    mounted, storage = _mounted(fstab, appliance=broken)
    assert mounted == ["/dev/sda2 /boot ro"]
    assert storage.absent == ("/home", "/gone")
    with pytest.raises(ImageError, match="/dev/sys/data cannot be mounted"):
        _mounted("UUID=bb /home btrfs defaults 0 0\n", appliance=_Appliance(broken=("/dev/sys/data",)))


def test_replayed_journals_are_told() -> None:
    appliance = _Appliance(dirty=("/dev/sda2", "/dev/sys/data"))
    _, storage = _mounted(
        "UUID=bb /home btrfs\nUUID=b007 /boot ext4\nUUID=05e4 /usr xfs\n", appliance=appliance
    )
    assert storage.replayed == ("/dev/sda2", "/dev/sys/data")


class _Sleeper(_Appliance):
    """Swap files begin with what the kernel leaves there."""

    def call(self, verb: str, *args: object, **options: object) -> Any:
        if verb == "pread":
            path, count, offset = args
            assert (count, offset) in ((10, 4086), (10, 65526))
            return b"S1SUSPEND\0" if path == "/swap/swapfile" and offset == 4086 else b"SWAPSPACE2"
        return super().call(verb, *args, **options)


def test_a_swap_file_that_holds_a_sleeping_machine() -> None:
    files = dict.fromkeys(("/swap/swapfile", "/other", "/small"), "x" * 65536)
    fstab = "/other none swap\n/swap/swapfile none swap\n/dev/sda9 none swap\n/none none swap\n"
    _, storage = _mounted(fstab, files, appliance=_Sleeper())
    assert storage.hibernated == ("/swap/swapfile",)
