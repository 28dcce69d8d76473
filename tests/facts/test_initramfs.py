"""initramfs images of every make, whole, joined, damaged and hostile."""

from __future__ import annotations

import contextlib
import io
import random
import stat
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.errors import GuestError
from imgfix.facts import compression, cpio, initramfs
from imgfix.facts.initramfs import module_name, read_initramfs
from imgfix.facts.model import InitramfsFacts, InitramfsLayout
from imgfix.facts.source import Source
from tests.facts.cpio_writer import COMPRESSORS, Item, archive, gz, lz4_legacy, zstd, zstd_sized

PATH = "/boot/initrd.img-6.1.0-1-amd64"
MICROCODE = archive(("kernel/x86/microcode/AuthenticAMD.bin", random.Random(1).randbytes(5001)))
MAIN = archive(
    Item("usr", mode=stat.S_IFDIR | 0o755),
    ("usr/lib/modules/6.1/kernel/drivers/hv/hv_vmbus.ko", random.Random(2).randbytes(70_001)),
    ("usr/lib/modules/6.1/kernel/drivers/scsi/hv-storvsc.ko.zst", b"x" * 333),
    Item("lib/modules/weak/none.ko", b"../elsewhere.ko", stat.S_IFLNK | 0o777),
    ("conf/conf.d/resume", b"RESUME=UUID=1\n"),
    ("etc/passwd", b"root:x\n"),
)
EXTRA = archive(
    ("usr/lib/modules/6.1/kernel/net/hv_netvsc.ko.xz", b"y" * 10), ("./conf/conf.d/resume", b"RESUME=none\n")
)
MAIN_MODULES = frozenset({"hv_vmbus", "hv_storvsc"})
ALL_MODULES = MAIN_MODULES | {"hv_netvsc"}


def read(data: bytes) -> InitramfsFacts:
    return replace(read_initramfs(io.BytesIO(data), PATH, len(data)), layout=InitramfsLayout())


def layout(data: bytes) -> InitramfsLayout:
    return read_initramfs(io.BytesIO(data), PATH, len(data)).layout


@pytest.mark.parametrize("packed", COMPRESSORS)
def test_one_archive(packed: str) -> None:
    name, compress = COMPRESSORS[packed]
    data = compress(MAIN)
    assert read(data) == InitramfsFacts(
        PATH, len(data), name, MAIN_MODULES, (("conf/conf.d/resume", "RESUME=UUID=1\n"),)
    )


@pytest.mark.parametrize("padding", [0, 1, 4, 512, 300_000])
@pytest.mark.parametrize("packed", COMPRESSORS)
def test_microcode_first_and_padding_last(packed: str, padding: int) -> None:
    name, compress = COMPRESSORS[packed]
    found = read(MICROCODE + bytes(padding) + compress(MAIN) + bytes(padding))
    assert (found.compression, found.modules) == (name, MAIN_MODULES)


@pytest.mark.parametrize("padding", [0, 4, 1000])
@pytest.mark.parametrize("second", COMPRESSORS)
@pytest.mark.parametrize("first", COMPRESSORS)
def test_what_is_appended_is_found_and_wins(first: str, second: str, padding: int) -> None:
    data = COMPRESSORS[first][1](MAIN) + bytes(padding) + COMPRESSORS[second][1](EXTRA)
    found = read(data)
    assert found.modules == ALL_MODULES
    assert found.hooks == (("conf/conf.d/resume", "RESUME=none\n"),)


def test_the_main_part_names_the_compression() -> None:
    assert read(MICROCODE + zstd(MAIN) + gz(EXTRA)).compression == "zstd"
    assert read(gz(EXTRA) + zstd(MAIN) + EXTRA).compression == "zstd"


def test_the_checksum_variant_of_cpio() -> None:
    assert read(archive(("a/b.ko", b"1"), magic=b"070702")).modules == {"b"}


def test_a_missing_trailer_is_fine() -> None:
    found = read(archive(("a.ko", b"123"), trailer=False) + archive(("b.ko", b""), trailer=False))
    assert found.modules == {"a", "b"}


def test_the_last_padding_may_be_missing() -> None:
    assert read(archive(("a.ko", b"12345"), trailer=False)[:-3]).modules == {"a"}


def test_zstd_of_many_frames_with_skippable_ones_between() -> None:
    skippable = b"\x52\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"skip me"
    half = len(MAIN) // 2
    found = read(zstd(MAIN[:half]) + skippable + zstd_sized(MAIN[half:]) + skippable + EXTRA)
    assert found.modules == ALL_MODULES


def test_lz4_of_several_blocks() -> None:
    big = archive(("big.bin", random.Random(3).randbytes(2**20) * 17), ("z.ko", b""))
    assert read(lz4_legacy(big) + lz4_legacy(EXTRA) + gz(MAIN)).modules == ALL_MODULES | {"z"}


def test_empty_members_do_no_harm() -> None:
    assert read(gz(b"") + zstd(b"") + zstd_sized(b"") + lz4_legacy(b"") + MAIN).modules == MAIN_MODULES


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("lib/hv_vmbus.ko", "hv_vmbus"),
        ("hid-hyperv.ko.gz", "hid_hyperv"),
        ("a/x.ko.xz", "x"),
        ("a/x.ko.zst", "x"),
        ("a/x.ko.lz4", "x"),
        ("a/x.ko.bak", None),
        ("a/.ko", None),
        ("a/x.so", None),
        ("a/" + "x" * 256 + ".ko", None),
    ],
)
def test_module_names(path: str, name: str | None) -> None:
    assert module_name(path) == name


HOOKED = [
    "conf/conf.d/resume",
    "conf/param.conf",
    "cryptroot/crypttab",
    "etc/cmdline",
    "etc/cmdline.d/95resume.conf",
    "etc/crypttab",
    "etc/fstab",
    "etc/fstab.sys",
    "etc/lvm/devices/system.devices",
    "usr/lib/dracut/hooks/initqueue/finished/devexists-x.sh",
]


@pytest.mark.parametrize("path", HOOKED)
@pytest.mark.parametrize("prefix", ["", "/", "./", "//.//"])
def test_hooks_are_kept(path: str, prefix: str) -> None:
    found = read(archive((prefix + path, b"caf\xe9")))
    assert found.hooks == ((path, b"caf\xe9".decode("utf-8", "surrogateescape")),)


@pytest.mark.parametrize(
    "path", ["conf/initramfs.conf", "etc/cmdline.d/a/b.conf", "etc/cmdline.d/a", "x/etc/fstab"]
)
def test_other_files_are_no_hooks(path: str) -> None:
    assert read(archive((path, b"text"))).hooks == ()


def test_large_files_are_no_hooks() -> None:
    assert read(archive(("etc/fstab", b"#" * initramfs.HOOK_SIZE))).hooks == ()


def test_a_link_or_folder_replaces_a_hook() -> None:
    link = Item("etc/fstab", b"elsewhere", stat.S_IFLNK | 0o777)
    assert read(archive(("etc/fstab", b"old")) + archive(link)).hooks == ()


def test_hard_links_share_the_content_of_the_last() -> None:
    mode = stat.S_IFREG | 0o644
    first = Item("etc/cmdline.d/1.conf", b"", mode, 7, 3)
    other = Item("etc/other", b"", mode, 8, 2)
    second = Item("etc/cmdline.d/2.conf", b"", mode, 7, 3)
    last = Item("etc/unrelated", b"root=/dev/sda1", mode, 7, 3)
    found = read(archive(first, other, second, last))
    assert dict(found.hooks) == dict.fromkeys((first.path, second.path), "root=/dev/sda1")


def test_hard_links_share_the_content_of_the_first() -> None:
    first = Item("etc/cmdline.d/1.conf", b"resume=x", inode=7, links=2)
    second = Item("etc/cmdline.d/2.conf", inode=7, links=2)
    assert [text for _, text in read(archive(first, second)).hooks] == ["resume=x", "resume=x"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "without any file"),
        (bytes(1000), "without any file"),
        (gz(b""), "without any file"),
        (b"070707" + bytes(100), "neither a newc cpio archive"),
        (b"hello world", "neither.*at byte 0"),
        (MAIN + b"hello", f"neither.*at byte {len(MAIN)}"),
        (gz(b"junk"), "neither.*at byte 0 .in the gzip data from byte 0"),
        (MICROCODE + gz(MAIN + b"junk"), f"neither.*in the gzip data from byte {len(MICROCODE)}"),
        (gz(gz(MAIN)), "neither"),
        (b"\x89LZO\0\r\n\x1a\n" + bytes(30), "lzo compression"),
        (MAIN[:50], "damaged cpio header at byte 0"),
        (MAIN[:112], "truncated"),
        (MAIN[:1000], "truncated"),
        (MAIN.replace(b"00000000", b"0000_000", 1), "damaged cpio header"),
        (gz(MAIN)[:-9], "truncated compressed data"),
        (zstd(MAIN)[:-2], "truncated"),
        (lz4_legacy(MAIN)[:-2], "truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_damage_is_refused_with_path_and_offset(data: bytes, message: str) -> None:
    with pytest.raises(GuestError, match=message) as caught:
        read(data)
    assert caught.value.message.startswith(PATH + ": ")


@pytest.mark.parametrize("size", [0, 4097, 2**32 - 1])
def test_absurd_name_sizes_are_refused(size: int) -> None:
    head = b"070701" + b"%08X" * 13 % (*[0] * 11, size, 0)
    with pytest.raises(GuestError, match="4096 are allowed"):
        read(head + bytes(8000))


def test_lzo_comes_with_a_hint() -> None:
    with pytest.raises(GuestError) as caught:
        read(b"\x89LZO\0\r\n\x1a\n" + bytes(30))
    assert caught.value.hint


@pytest.mark.parametrize("packed", ["none", "gzip", "zstd"])
def test_bombs_of_bytes_are_refused(monkeypatch: pytest.MonkeyPatch, packed: str) -> None:
    monkeypatch.setattr(initramfs, "UNPACKED_LIMIT", 2**20)
    bomb = COMPRESSORS[packed][1](archive(("zero", bytes(2**19))))
    with pytest.raises(GuestError, match="more than"):
        read(bomb + bytes(8) + bomb + bytes(8) + bomb)


def test_bombs_of_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "ENTRY_LIMIT", 10)
    with pytest.raises(GuestError, match="more than 10 files"):
        read(gz(archive(*[(f"f{i}", b"") for i in range(10)])))


@pytest.mark.parametrize("packed", [name for name in COMPRESSORS if name != "none"])
@pytest.mark.parametrize("padding", [0, 4])
def test_bombs_of_members_are_refused(monkeypatch: pytest.MonkeyPatch, packed: str, padding: int) -> None:
    monkeypatch.setattr(compression, "MEMBER_LIMIT", 10)
    member = COMPRESSORS[packed][1](b"") + bytes(padding)
    assert read(10 * member + MAIN).modules == MAIN_MODULES
    with pytest.raises(GuestError, match="more than 10 compressed members"):
        read(11 * member + MAIN)


def test_bombs_of_hooks_are_refused() -> None:
    items = [(f"conf/conf.d/{i}", bytes(60_000)) for i in range(80)]
    with pytest.raises(GuestError, match="bytes of configuration"):
        read(gz(archive(*items)))


@pytest.mark.parametrize("packed", [name for name in COMPRESSORS if name != "none"])
def test_memory_stays_far_below_the_unpacked_size(packed: str) -> None:
    data = COMPRESSORS[packed][1](archive(("zero", bytes(48 * 2**20)), ("a.ko", b"")))
    tracemalloc.start()
    try:
        assert read(data).modules == {"a"}
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


class OneByOne(io.RawIOBase):
    """A stream that returns less than it is asked for, as pipes do."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 7))


@pytest.mark.parametrize("packed", COMPRESSORS)
def test_short_reads_of_the_stream(packed: str) -> None:
    data = MICROCODE + bytes(40) + COMPRESSORS[packed][1](MAIN) + bytes(12) + gz(EXTRA)
    found = read_initramfs(OneByOne(data), PATH, len(data))  # type: ignore[arg-type]
    assert found.modules == ALL_MODULES


def test_an_error_of_the_host_is_not_blamed_on_the_guest() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        read_initramfs(Broken(), PATH, 1)  # type: ignore[arg-type]


SEEDS = [MICROCODE[:1000] + compress(EXTRA) + bytes(4) + EXTRA for _, compress in COMPRESSORS.values()]
SEEDS += [compress(EXTRA) + gz(EXTRA) for _, compress in COMPRESSORS.values()]
EDITS = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(SEEDS), EDITS, st.integers(0, 2000), st.integers(0, 40))
def test_mutated_images_give_facts_or_a_guest_error(
    seed: bytes, edits: list[tuple[int, int]], cut_at: int, cut: int
) -> None:
    data = bytearray(seed)
    for at, value in edits:
        data[at % len(data)] = value
    del data[cut_at : cut_at + cut]
    with contextlib.suppress(GuestError):
        assert read(bytes(data)).size == len(data)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(compression.FORMATS), st.binary(max_size=200))
def test_garbage_behind_a_magic(row: compression.Format, data: bytes) -> None:
    with pytest.raises(GuestError):
        read(row.magic + data + b"\x01")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text("ab/.", min_size=1, max_size=9), st.binary(max_size=30)), max_size=6),
    st.integers(1, 50),
)
def test_cpio_reads_back_what_was_written(items: list[tuple[str, bytes]], step: int) -> None:
    data = archive(*items)
    source = Source(iter([data[at : at + step] for at in range(0, len(data), step)]), "x", 10**6)
    contents = [source.take(member.size) for member in cpio.members(source) if not member.is_trailer]
    assert contents == [content for _, content in items]
    assert source.peek(1) == b""


def _folders(*paths: str) -> tuple[Item, ...]:
    return tuple(Item(path, mode=stat.S_IFDIR | 0o755) for path in paths)


ROOT = "usr/lib/modules/6.1"
FOLDERS = ("usr", "usr/lib", "usr/lib/modules", ROOT, f"{ROOT}/kernel")
TOOLS: tuple[Item | tuple[str, bytes], ...] = (
    *_folders(*FOLDERS),
    Item("lib", b"usr/lib", stat.S_IFLNK | 0o777),
    (f"{ROOT}/modules.dep", b""),
    (f"{ROOT}/kernel/ext4.ko", b"x"),
    Item(f"{ROOT}/kernel/weak.ko.xz", b"../ext4.ko", stat.S_IFLNK | 0o777),
    ("conf/initramfs.conf", b"MODULES=most\n"),
    ("conf/modules", b"loop\n"),
)


@pytest.mark.parametrize("packed", COMPRESSORS)
def test_the_layout_tells_what_appending_needs(packed: str) -> None:
    name, compress = COMPRESSORS[packed]
    found = layout(MICROCODE + compress(archive(*TOOLS)) + bytes(8))
    assert found == InitramfsLayout(
        generator="initramfs-tools",
        tail="lz4 frame" if packed == "lz4 frame" else name,
        # a plain archive goes on from the microcode: one archive, as for the kernel
        tail_size=len(archive(*TOOLS)) + (len(MICROCODE) if packed == "none" else 0),
        padding=8,
        roots=(ROOT,),
        files=frozenset({f"{ROOT}/kernel/ext4.ko", f"{ROOT}/kernel/weak.ko.xz"}),
        folders=frozenset(FOLDERS),
        preload="loop\n",
    )


def test_the_layout_of_the_last_archive_counts() -> None:
    found = layout(gz(archive(*TOOLS)) + zstd(archive(("conf/modules", b"loop\nnvme\n"))))
    assert (found.tail, found.padding, found.preload) == ("zstd", 0, "loop\nnvme\n")


@pytest.mark.parametrize("mark", ["usr/lib/dracut-lib.sh", "lib/dracut/hooks/cmdline/a.sh"])
def test_dracut_is_known_by_what_only_it_leaves(mark: str) -> None:
    assert layout(archive((mark, b""))).generator == "dracut"


def test_an_unknown_generator_or_two_are_none() -> None:
    assert layout(archive(("init", b""))).generator == ""
    assert layout(archive(("conf/initramfs.conf", b""), ("usr/lib/dracut/x", b""))).generator == ""


def test_indexes_behind_a_link_are_no_root() -> None:
    linked = archive(
        *_folders("lib/modules", "lib/modules/6.1"), *TOOLS[5:6], ("lib/modules/6.1/modules.dep", b"")
    )
    assert layout(linked).roots == ()


def test_a_later_archive_can_turn_a_folder_into_a_link() -> None:
    link = archive(Item(ROOT, b"elsewhere", stat.S_IFLNK | 0o777))
    assert layout(gz(archive(*TOOLS))).roots == (ROOT,)
    assert layout(gz(archive(*TOOLS)) + gz(link)).roots == ()


def test_what_is_loaded_first_is_told_or_refused() -> None:
    assert layout(archive(("init", b""))).preload == ""
    assert layout(archive(Item("conf/modules", b"loop\n", links=2))).preload is None
    assert layout(archive(("conf/modules", b"x" * initramfs.HOOK_SIZE))).preload is None
