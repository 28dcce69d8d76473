"""--chroot host with a real sandbox and a guest made of this host's programs, whose generator says what it sees."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from imgfix import profile_load, sandbox
from imgfix import tree as files
from imgfix.change import Rebuild, RebuildKind
from imgfix.errors import ApplyError, CommandError, HostError, ProfileError
from imgfix.facts.initramfs import list_initramfs
from imgfix.facts.model import Array, Encrypted, Storage
from imgfix.host_chroot import HostChroot
from imgfix.interrupt import Interrupts
from imgfix.plan import Item, Plan, on_host
from imgfix.profile import Profile
from imgfix.scratch import Scratch
from imgfix.tree import Entry
from tests.facts import cpio_reader
from tests.fake_tree import FakeEntry, FakeTree, folder, link
from tests.native_guest import IMAGE, KERNEL, STORAGE, UUID, contents, program


class Machine:
    """A guest in memory, with what else of a Guest a chroot takes; what was put back is in `replaced`."""

    def __init__(self, contents: dict[str, bytes | str | FakeEntry]) -> None:
        self._tree = FakeTree(contents)
        self._contents = contents
        self.drive = Path()
        self.superblock = b"no file system"
        self.replaced: dict[str, bytes] = {}

    def lstat(self, path: str) -> Entry | None:
        return self._tree.lstat(path)

    def read_file(self, path: str) -> bytes:
        return self._tree.read_file(path)

    def listdir(self, path: str) -> tuple[str, ...]:
        return self._tree.listdir(path)

    def pack(self, excluded: Sequence[str]) -> None:
        """As tar in the appliance does: all but what is excluded."""
        patterns = [
            re.compile(re.escape(e.removeprefix(".")).replace(r"\*", ".*") + "(/.*)?") for e in excluded
        ]
        with self.drive.open("r+b") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
            for path, entry in self._entries():
                if not any(p.fullmatch(path) for p in patterns):
                    self._pack_one(tar, path, entry)

    def _entries(self) -> Iterator[tuple[str, FakeEntry]]:
        for path, value in self._contents.items():
            yield path, value if isinstance(value, FakeEntry) else FakeEntry(value)

    def _pack_one(self, tar: tarfile.TarFile, path: str, entry: FakeEntry) -> None:
        info = tarfile.TarInfo(f".{path}")
        info.mode, info.uid, info.gid = entry.entry().mode, entry.uid, entry.gid
        info.type = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}[
            entry.kind.value
        ]
        info.linkname, info.size = entry.target, len(entry.data())
        tar.addfile(info, io.BytesIO(entry.data()))

    def head(self, device: str) -> bytes:
        assert device == "/dev/sda1", "the mounted one with a plain name"
        return self.superblock

    def replace(self, path: str, content: Path) -> None:
        self.replaced[path] = content.read_bytes()


@pytest.fixture(scope="module")
def base() -> dict[str, bytes | str | FakeEntry]:
    """The guest's files."""
    return contents()


def rebuild(machine: Machine, *argv: str, storage: Storage = STORAGE) -> Rebuild:
    """Rebuild the image by `argv`, the generator where nothing else is named."""
    wanted = Rebuild(
        RebuildKind.INITRAMFS, IMAGE, (argv or ("generator", IMAGE),), "it lacks drivers", kernel=KERNEL
    )
    with Scratch() as scratch:
        machine.drive = scratch.drive
        host = HostChroot(machine, scratch, (KERNEL,), storage, Interrupts(), lambda *_: None)  # type: ignore[arg-type]
        host.rebuild(wanted)
    return wanted


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the copies go; nothing is left there, whatever happened."""
    path = Path("/var/tmp") / f"imgfix-test-{os.getpid()}-{tmp_path_factory.mktemp('s').name}"
    path.mkdir(mode=0o755)
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    assert list(path.iterdir()) == []
    path.rmdir()


def test_the_generator_sees_its_guest_and_nothing_else(
    base: dict[str, bytes | str | FakeEntry], scratch: Path
) -> None:
    machine = Machine(base)
    rebuild(machine)
    image = machine.replaced[IMAGE]
    told = {item.path: item.content.decode() for item in cpio_reader.read(image)}
    assert told["uid"] == "0\n"
    assert "CapEff:\t000000000004000a" in told["rights"], "chroot(2), and what is closed to its owner"
    assert "NoNewPrivs:\t1" in told["rights"]
    assert told["cards"] == "1\n", "lo"
    assert len(told["processes"].split()) < 10, "its own"
    assert told["empty"] == "/home:\n\n/root:\n\n/sys:\n"
    assert re.search(rf" {96 << 20} .* /dev/sda1\n", told["devices"])
    assert f"{UUID} -> /dev/sda1" in told["devices"]
    assert re.fullmatch(
        rf'<device .* UUID="{UUID}" TYPE="ext4">/dev/sda1</device>', told["devices"].splitlines()[-1]
    )
    assert told["modules"] == f"{KERNEL}\n"
    tops = {path.split("/")[1] for path in base} | {"proc", "sys", "dev", "run", "tmp"}
    assert set(told["top"].split()) <= tops
    assert {(m.uid, m.gid) for m in list_initramfs(io.BytesIO(image), IMAGE)} == {(0, 0)}
    assert scratch.exists()


def test_a_link_to_this_hosts_files_leads_nowhere(
    base: dict[str, bytes | str | FakeEntry], scratch: Path
) -> None:
    secret = scratch.parent / f"{scratch.name}-secret"
    secret.write_text("of this host")
    machine = Machine({**base, IMAGE: link(str(secret))})
    try:
        with pytest.raises(CommandError):
            rebuild(machine, "id")
    finally:
        secret.unlink()
    assert machine.replaced == {}


def test_a_generator_that_fails_is_told_with_its_words(
    base: dict[str, bytes | str | FakeEntry], scratch: Path
) -> None:
    machine = Machine(base)
    with pytest.raises(CommandError, match="no such module here") as failed:
        rebuild(machine, "sh", "-c", "echo no such module here >&2; exit 3")
    assert (failed.value.command.status, machine.replaced, scratch.exists()) == (3, {}, True)


@pytest.mark.parametrize(("entry", "owner"), [("etc/setting", "7/0"), ("etc", "0/42")])
def test_files_of_others_in_the_image_are_refused(
    base: dict[str, bytes | str | FakeEntry], scratch: Path, entry: str, owner: str
) -> None:
    uid, gid = map(int, owner.split("/"))
    theirs = folder(uid=uid, gid=gid) if entry == "etc" else FakeEntry("of the guest\n", uid=uid, gid=gid)
    machine = Machine({**base, "/etc": folder(), f"/{entry}": theirs})
    with pytest.raises(ApplyError, match=f"{entry} in it belongs to {owner}"):
        rebuild(machine, "sh", "-c", f"cd / && printf 'etc\\netc/setting\\n' | cpio -o -H newc >{IMAGE}")
    assert (machine.replaced, scratch.exists()) == ({}, True)


@pytest.mark.parametrize(
    ("bound", "value", "words"),
    [
        ("TIME_MAX", 1, "it ran for 1 s"),
        ("SPACE_LEFT", 1 << 60, "no space for a copy of the guest's files"),
        ("free_bytes", lambda _: 0, "are to stay free"),
        ("MEMORY_MAX", 1, "of memory"),
    ],
)
def test_what_takes_too_much_is_ended(
    base: dict[str, bytes | str | FakeEntry],
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    value: object,
    words: str,
) -> None:
    monkeypatch.setattr(sandbox, bound, value)
    machine = Machine(base)
    with pytest.raises(HostError, match=words) as ended:
        rebuild(machine, "sleep", "1000")
    assert ended.value.hint
    assert (machine.replaced, scratch.exists()) == ({}, True)


def test_blkid_of_the_sandbox_knows_the_guests_root(
    base: dict[str, bytes | str | FakeEntry], scratch: Path, tmp_path: Path
) -> None:
    """Where this host has util-linux' blkid in its own place; it is what initramfs-tools asks."""
    disk = tmp_path / "fs"
    with disk.open("wb") as stream:
        stream.truncate(96 << 20)
    subprocess.run(("mkfs.ext4", "-q", "-U", UUID, disk), check=True)
    machine = Machine({**base, **program("blkid")})
    machine.superblock = disk.read_bytes()[: 256 << 10]
    asked = f"d=$(blkid -l -t UUID={UUID} -o device) && t=$(blkid -o value -s TYPE $d) && mkdir /tmp/a && cd /tmp/a"
    rebuild(machine, "sh", "-c", f"{asked} && touch .$t && ls -A | cpio -o -H newc >{IMAGE}")
    assert [item.path for item in cpio_reader.read(machine.replaced[IMAGE])] == [".ext4"]
    assert scratch.exists()


@pytest.mark.parametrize(
    "storage",
    [
        replace(STORAGE, encrypted=(Encrypted("/dev/sda1", UUID, ""),)),
        replace(STORAGE, arrays=(Array("/dev/md0", "raid1", 1, 2),)),
    ],
    ids=["encrypted", "raid"],
)
def test_a_root_that_must_be_opened_is_refused(
    base: dict[str, bytes | str | FakeEntry], scratch: Path, storage: Storage
) -> None:
    machine = Machine(base)
    with pytest.raises(HostError, match="its generator must see the devices"):
        rebuild(machine, storage=storage)
    assert (machine.replaced, scratch.exists()) == ({}, True)


def test_a_guest_of_another_machine_is_refused(
    base: dict[str, bytes | str | FakeEntry], scratch: Path
) -> None:
    shell = bytearray(files.read(FakeTree(base), "/usr/bin/sh"))
    shell[18:20] = (243).to_bytes(2, "little")
    machine = Machine({**base, "/usr/bin/sh": FakeEntry(bytes(shell), mode=0o755)})
    with pytest.raises(HostError, match="ELF machine 243"):
        rebuild(machine)
    assert scratch.exists()


def test_the_scratch_of_a_killed_run_goes_and_that_of_a_running_one_stays(scratch: Path) -> None:
    left = scratch / "imgfix-chroot-killed"
    (left / "tree/closed").mkdir(parents=True)
    (left / "tree/closed/file").touch()
    (left / "tree/closed").chmod(0o555)
    with Scratch() as one:
        assert not left.exists()
        with Scratch() as other:
            assert one.tree.exists()
            assert other.tree.exists()


def test_a_host_without_bubblewrap_or_namespaces_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "BWRAP", "no-such-program")
    with pytest.raises(HostError, match="is not installed") as missing:
        sandbox.require()
    assert "install bubblewrap" in (missing.value.hint or "")
    # false(1) has no --help of bubblewrap's and no namespaces.
    monkeypatch.setattr(sandbox, "BWRAP", "false")
    with pytest.raises(HostError) as refused:
        sandbox.require()
    assert refused.value.hint is not None
    assert "user namespaces" in refused.value.hint


def test_no_profile_switches_it_on() -> None:
    for setting in ("initramfs.method=host-chroot", "initramfs.chroot=host", "chroot=host"):
        with pytest.raises(ProfileError):
            profile_load.load("debian", [setting])
    assert not [name for name in Profile.model_fields if "chroot" in name]


def test_only_initramfs_images_are_rebuilt_on_the_host() -> None:
    plan = Plan(
        tuple(
            Item("step", Rebuild(kind, f"/{kind.value}", (("x",),), "why", kernel="k"))
            for kind in RebuildKind
        )
    )
    native = {rebuild.kind for rebuild in on_host(plan).rebuilds if rebuild.on_host}
    assert native == {RebuildKind.INITRAMFS}
    (told,) = (r.reason for r in on_host(plan).rebuilds if r.on_host)
    assert told == "why; method host-chroot"
