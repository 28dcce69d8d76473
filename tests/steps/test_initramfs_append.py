"""What is appended, read back as the kernel would: behind images of every compression, once and again."""

from __future__ import annotations

import io
import posixpath
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.facts.initramfs import module_name, read_initramfs
from imgfix.facts.model import InitramfsFacts, Kernel
from imgfix.pack import module_index, newc
from imgfix.pack.module_index import Line
from imgfix.steps.initramfs_append import Addition, Unproven, addition
from tests.facts import cpio_reader
from tests.facts.cpio_writer import COMPRESSORS, Item, archive, gz, zstd
from tests.fake_tree import FakeEntry, FakeTree

RELEASE = "6.1.0-18-amd64"
ROOT = f"usr/lib/modules/{RELEASE}"
HELD = ("kernel/fs/ext4.ko", "kernel/block/virtio_blk.ko")
LINES = (
    Line("kernel/hv/hv_vmbus.ko", ()),
    Line("kernel/scsi/hv_storvsc.ko", ("kernel/scsi/fc.ko", "kernel/hv/hv_vmbus.ko")),
    Line("kernel/scsi/fc.ko", ()),
    Line("kernel/scsi/sd_mod.ko", ()),
    Line("kernel/net/hv_netvsc.ko", ("kernel/hv/hv_vmbus.ko",)),
    Line("kernel/fs/ext4.ko", ()),
    Line("kernel/block/virtio_blk.ko", ()),
    Line("kernel/sound/snd.ko", ()),
)
APPENDED = [packed for packed in COMPRESSORS if packed not in ("lz4 frame", "lzma", "bzip2")]


def guest(lines: tuple[Line, ...] = LINES, **files: bytes) -> FakeTree:
    """A guest with the modules of `lines`, each holding its own path, and small indexes."""
    folder = f"/lib/modules/{RELEASE}"
    entries: dict[str, bytes | str | FakeEntry] = {f"{folder}/{ln.path}": ln.path for ln in lines}
    texts = {"modules.dep": module_index.text(lines), "modules.alias.bin": b"aliases", **files}
    return FakeTree({**entries, **{f"{folder}/{name}": content for name, content in texts.items()}})


def image(*extra: Item | tuple[str, bytes], held: tuple[str, ...] = HELD) -> bytes:
    """The archive of an image of initramfs-tools that holds the modules `held`, at the usual place."""
    files = [*(f"{ROOT}/{path}" for path in held), f"{ROOT}/modules.dep"]
    folders = {"/".join(p.split("/")[:n]) for p in files for n in range(1, p.count("/") + 1)}
    items = [Item(path, mode=stat.S_IFDIR | 0o755) for path in sorted(folders)]
    marks = (
        ("conf/initramfs.conf", b""),
        ("conf/modules", b"loop"),
        Item("lib", b"usr/lib", stat.S_IFLNK | 0o777),
    )
    return archive(*items, *((path, b"held") for path in files), *marks, *extra)


def read(data: bytes) -> InitramfsFacts:
    return read_initramfs(io.BytesIO(data), "/boot/initrd", len(data))


def kernel(data: bytes) -> Kernel:
    return Kernel(RELEASE, f"/boot/vmlinuz-{RELEASE}", read(data), (), modules_dep=True)


def added(data: bytes, *drivers: str, tree: FakeTree | None = None) -> Addition:
    found = addition(tree or guest(), kernel(data), drivers, [newc.Entry("conf/conf.d/resume", b"RESUME=\n")])
    assert isinstance(found, Addition), found
    return found


@pytest.mark.parametrize("packed", APPENDED)
@pytest.mark.parametrize("padding", [0, 1, 512])
def test_the_image_then_holds_the_drivers(packed: str, padding: int) -> None:
    name, compress = COMPRESSORS[packed]
    old = compress(image(("conf/conf.d/resume", b"RESUME=UUID=1\n"))) + bytes(padding)
    if name == "lz4" and padding:
        found = addition(guest(), kernel(old), ["hv_storvsc"], [])
        assert isinstance(found, Unproven)
        return
    new = old + added(old, "hv_storvsc").content
    facts = read(new)
    assert facts.modules == {"ext4", "virtio_blk", "hv_storvsc", "hv_vmbus", "fc", "sd_mod"}
    assert facts.hooks == (("conf/conf.d/resume", "RESUME=\n"),)
    assert facts.layout.roots == (ROOT,)
    assert facts.layout.preload == "loop\nhv_storvsc\n"
    assert facts.layout.tail == name


def test_an_archive_begins_where_the_kernel_looks_for_it() -> None:
    """Behind a plain archive at a multiple of 4 bytes of the whole file, behind a packed one at once."""
    plain = image() + bytes(3)
    assert added(plain, "hv_vmbus").content.startswith(b"\x00" + b"070701")
    for compress in (gz, zstd):
        packed = compress(image())
        assert (packed + added(packed, "hv_vmbus").content)[len(packed) :][:2] == packed[:2]


def test_appending_again_goes_on_from_what_was_appended() -> None:
    once = gz(image())
    once += added(once, "hv_vmbus").content
    more = added(once, "hv_netvsc")
    assert more.modules == ("hv_netvsc",)
    twice = read(once + more.content)
    assert twice.modules == {"ext4", "virtio_blk", "hv_vmbus", "hv_netvsc", "sd_mod"}
    assert twice.layout.preload == "loop\nhv_vmbus\nhv_netvsc\n"
    dep = {e.path: e.content for e in cpio_reader.read(more.content)}[f"{ROOT}/modules.dep"].decode()
    held = {module_name(line.path) for line in module_index.parse(dep)}
    assert held == twice.modules, "the index names what is in the image, and nothing else"


def test_no_entry_is_a_folder_that_may_be_a_link_in_the_image() -> None:
    """A folder would take the place of the link lib -> usr/lib, and of all that is found through it."""
    entries = cpio_reader.read(added(gz(image()), "hv_storvsc", "hv_netvsc").content)
    folders = [entry.path for entry in entries if stat.S_ISDIR(entry.mode)]
    assert folders == [f"{ROOT}/kernel/hv", f"{ROOT}/kernel/net", f"{ROOT}/kernel/scsi"]
    assert not [entry.path for entry in entries if entry.path.startswith("lib/")]


def test_only_swap_to_wait_for_needs_no_modules() -> None:
    odd = gz(archive(("init", b""), ("conf/conf.d/resume", b"RESUME=UUID=1\n")))
    found = added(odd)
    assert [entry.path for entry in cpio_reader.read(found.content)] == ["conf/conf.d/resume"]
    assert found.modules == ()


@pytest.mark.parametrize(
    ("softdep", "wanted"),
    [
        (b"softdep hv_vmbus pre: snd\n", {"snd"}),
        (b"softdep hv-vmbus post: snd\n", {"snd"}),
        (b"softdep hv_vmbus pre: sound-card post: none\n", {"snd"}),
        (b"softdep ext4 pre: snd\n# softdep hv_vmbus pre: snd\n", set()),
    ],
)
def test_soft_dependencies_come_along(softdep: bytes, wanted: set[str]) -> None:
    files = {"modules.softdep": softdep, "modules.alias": b"alias sound_card snd\nalias pci:* ext4\n"}
    found = added(gz(image()), "hv_vmbus", tree=guest(LINES, **files))
    assert set(found.modules) == {"hv_vmbus", "sd_mod"} | wanted


@pytest.mark.parametrize("generator", ["initramfs-tools", "dracut"])
def test_what_cannot_be_told_is_not_appended(generator: str) -> None:
    mark = ("conf/modules", b"x" * (1 << 16)) if generator == "initramfs-tools" else ("usr/lib/dracut/x", b"")
    found = addition(guest(), kernel(gz(image(mark))), ["hv_vmbus"], [])
    assert isinstance(found, Unproven)


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[tuple[Line, ...], list[str], list[str]]:
    """Modules that need others with all that those need, the ones inside the image, and the drivers wanted."""
    names = draw(
        st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), min_size=1, max_size=8, unique=True)
    )
    needs: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        direct = draw(st.lists(st.sampled_from(names[:number]), max_size=2, unique=True)) if number else []
        needs[name] = list(dict.fromkeys([*direct, *(n for d in direct for n in needs[d])]))
    paths = {name: f"kernel/{name[0]}/{name}.ko" for name in names}
    lines = tuple(Line(paths[name], tuple(paths[n] for n in needs[name])) for name in names)
    seeds = draw(st.lists(st.sampled_from(names), max_size=3))
    inside = dict.fromkeys(n for seed in seeds for n in (seed, *needs[seed]))
    return (
        lines,
        [paths[n] for n in inside],
        draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)),
    )


@settings(max_examples=60, deadline=None)
@given(_graphs())
def test_everything_that_the_index_needs_is_in_the_image(
    graph: tuple[tuple[Line, ...], list[str], list[str]],
) -> None:
    lines, inside, drivers = graph
    old = gz(image(held=tuple(inside)))
    content = added(old, *drivers, tree=guest(lines)).content
    new = read(old + content)
    assert new.modules >= set(drivers)
    files = {posixpath.relpath(path, ROOT) for path in new.layout.files}
    dep = {e.path: e.content for e in cpio_reader.read(content)}[f"{ROOT}/modules.dep"].decode()
    named = {path for line in module_index.parse(dep) for path in (line.path, *line.needs)}
    assert named == files
    assert {entry.content.decode() for entry in cpio_reader.read(content) if entry.path.endswith(".ko")} <= {
        line.path for line in lines
    }
