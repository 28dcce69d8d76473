"""An archive to put behind an existing initramfs: the drivers that it lacks, and what makes them load (R10).

The kernel unpacks all archives of an initramfs one after the other, later files over earlier ones. So what a
rebuild would add can be added behind, in seconds where the guest's generator would take minutes:

- the drivers with their dependencies and soft dependencies, where the image keeps its modules;
- modules.dep and modules.dep.bin, made anew of what is in the image then, with the paths as they are there:
  initramfs-tools unpacks compressed modules, so that the kernel's own indexes name files which the image lacks;
- the kernel's own indexes of aliases and symbols, as they are: by those udev finds a driver. They name modules,
  not files, and also ones outside the image; modprobe does not find these and goes on;
- for initramfs-tools the drivers in conf/modules, as its generator does. dracut's images load by alias alone;
- the texts that wait for removed swap, without it.

What cannot be shown to work is not tried: `addition` then says why, and the image is rebuilt.
https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgfix import tree as files
from imgfix.errors import GuestError
from imgfix.facts import compression
from imgfix.facts.initramfs import PRELOAD, module_name
from imgfix.facts.kernels import MODULE_ROOTS
from imgfix.facts.model import InitramfsFacts, Kernel
from imgfix.facts.source import Source
from imgfix.pack import module_index, newc
from imgfix.pack.compressed import COMPRESSORS
from imgfix.pack.module_index import Line
from imgfix.tree import Tree

#: A generator takes it in for every SCSI disk; an image made for virtio disks alone lacks it.
_DISKS = "sd_mod"

#: Indexes that go along as they are, where the kernel has them; the first must be there (kmod, depmod(8)).
_INDEXES = ("modules.alias.bin", "modules.alias", "modules.symbols.bin", "modules.symbols", "modules.softdep")

#: No driver has more bytes unpacked.
_MODULE_MAX = 256 << 20

_PACKED = re.compile(r"\.(?:xz|zst|gz|bz2|lz4)$")
_SOFTDEP = re.compile(r"^softdep\s+(\S+)\s+(.*)$", re.MULTILINE)
_ALIAS = re.compile(r"^alias\s+(\S+)\s+(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Addition:
    """Bytes to put behind an image, padding included, and the modules that are among them."""

    content: bytes
    modules: tuple[str, ...]


class Unproven(Exception):
    """Appending cannot be shown to work; the text says why."""


def addition(
    tree: Tree, kernel: Kernel, drivers: Sequence[str], changed: Iterable[newc.Entry]
) -> Addition | Unproven:
    """Return what to put behind the initramfs of `kernel` so that it holds `drivers` and the files `changed`.

    Returns Unproven where that cannot be shown to work. Raises GuestError for files that cannot be read.
    """
    image = kernel.initramfs
    assert image is not None
    try:
        _require_known(image)
        entries = list(changed)
        modules: tuple[str, ...] = ()
        if drivers:
            added = _Modules(tree, kernel, image).added(drivers)
            entries += added.entries
            modules = added.names
        packed = COMPRESSORS[image.layout.tail](newc.archive(entries))
    except Unproven as reason:
        return reason
    # A plain archive begins at a multiple of 4 bytes, in the kernel's reader too; a compressed one follows directly:
    # zstd and lz4, with which dracut unpacks an image at shutdown, take no padding between two.
    padding = bytes(-image.size % 4) if image.layout.tail == "none" else b""
    return Addition(padding + packed, modules)


def _require_known(image: InitramfsFacts) -> None:
    """The archive is packed as the image's last one: that the kernel unpacks it is shown by the image."""
    layout = image.layout
    if layout.tail not in COMPRESSORS:
        raise Unproven(f"imgfix appends nothing behind {layout.tail}")
    # Kernels before 5.11 read on behind an lz4 frame, so that what follows must be one, and aligned with the first.
    # https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/lib/decompress_unlz4.c
    if layout.tail == "lz4" and (layout.padding or layout.tail_size % 4):
        raise Unproven("its lz4 archive does not end where the next could begin")


@dataclass(frozen=True, slots=True)
class _Added:
    names: tuple[str, ...]
    entries: tuple[newc.Entry, ...]


class _Modules:
    """The modules of one kernel, in its folder and in its image."""

    def __init__(self, tree: Tree, kernel: Kernel, image: InitramfsFacts) -> None:
        self._tree = tree
        self._kernel = kernel
        self._layout = image.layout
        self._folder = _folder(tree, kernel)
        self._root = _root(kernel, image)
        self._lines = self._read_lines()
        self._held = self._read_held()
        self._softdeps, self._aliases = self._read_softdeps()

    def added(self, drivers: Sequence[str]) -> _Added:
        """Return what to add for `drivers`; the disk driver of SCSI, on which Hyper-V's needs it, comes along."""
        disks = [_DISKS] if _DISKS in self._lines else []
        names = [name for name in self._closure([*drivers, *disks]) if name not in self._held]
        entries = [self._entry(name) for name in names]
        at = self._held | {
            name: posixpath.relpath(e.path, self._root) for name, e in zip(names, entries, strict=True)
        }
        entries += self._indexes(at)
        return _Added(tuple(names), (*self._folders(entries), *entries, *self._preload(drivers)))

    def _read_lines(self) -> dict[str, Line]:
        path = f"{self._folder}/modules.dep"
        try:
            lines = list(module_index.parse(files.read_text(self._tree, path)))
        except ValueError as error:
            raise Unproven(f"{path}, {error}") from error
        return {module_name(line.path) or "": line for line in lines}

    def _read_held(self) -> dict[str, str]:
        """Return where below the root the image has each of its modules: as modules.dep says, or unpacked."""
        held: dict[str, str] = {}
        for path in sorted(self._layout.files):
            name = module_name(path) or ""
            line = self._lines.get(name)
            expected = (line.path, _PACKED.sub("", line.path)) if line else ()
            if path not in [f"{self._root}/{p}" for p in expected]:
                raise Unproven(f"it holds {path}, which the kernel's modules.dep does not name")
            held[name] = path.removeprefix(f"{self._root}/")
        return held

    def _read_softdeps(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return what each module wants besides its needs (modprobe.d(5), softdep), and names for modules."""
        softdeps: dict[str, list[str]] = {}
        for name, wanted in _SOFTDEP.findall(self._text("modules.softdep")):
            words = [word for word in wanted.split() if word not in ("pre:", "post:")]
            softdeps.setdefault(_plain(name), []).extend(_plain(word) for word in words)
        aliases: dict[str, list[str]] = {}
        for alias, name in _ALIAS.findall(self._text("modules.alias") if softdeps else ""):
            aliases.setdefault(_plain(alias), []).append(_plain(name))
        return softdeps, aliases

    def _text(self, name: str) -> str:
        path = f"{self._folder}/{name}"
        return files.read_text(self._tree, path) if files.is_file(self._tree, path) else ""

    def _closure(self, drivers: Sequence[str]) -> list[str]:
        """Return `drivers` and all that they need or want, as far as the kernel has it as modules."""
        found: dict[str, None] = {}
        wanted = list(drivers)
        while wanted:
            name = wanted.pop(0)
            if name in found:
                continue
            if name not in self._lines:
                wanted += [n for n in self._aliases.get(name, ()) if n in self._lines]
                continue
            found[name] = None
            wanted += [module_name(path) or "" for path in self._lines[name].needs]
            wanted += self._softdeps.get(name, ())
        return sorted(found)

    def _entry(self, name: str) -> newc.Entry:
        """Return a module's file: as it is where the image has others like it, else unpacked."""
        source = self._lines[name].path
        path = f"{self._folder}/{source}"
        if not files.is_file(self._tree, path):
            raise GuestError(
                f"{path}: there is no such module, which modules.dep names, to be put into the initramfs",
                hint=f"install the kernel's packages again in the guest, or run `depmod {self._kernel.release}` there",
            )
        content = files.read(self._tree, path)
        suffix = _PACKED.search(source)
        plain = _unpacked(content, source) if suffix else content
        if b"\0firmware=" in plain:
            raise Unproven(f"{name} may need firmware, which only the guest's generator finds")
        if suffix and any(path.endswith(suffix[0]) for path in self._held.values()):
            return newc.Entry(f"{self._root}/{source}", content)
        return newc.Entry(f"{self._root}/{_PACKED.sub('', source)}", plain)

    def _indexes(self, at: dict[str, str]) -> list[newc.Entry]:
        """Return the indexes; `at` is where each module lies in the image when all is added."""
        if not files.is_file(self._tree, f"{self._folder}/{_INDEXES[0]}"):
            raise Unproven(f"{self._folder}/{_INDEXES[0]} is missing")
        names = [name for name in self._lines if name in at]
        place = {self._lines[name].path: at[name] for name in names}
        lines = [
            Line(at[name], tuple(place.get(path, path) for path in self._lines[name].needs)) for name in names
        ]
        made = {
            "modules.dep": module_index.text(lines),
            "modules.dep.bin": module_index.binary(lines, names),
        }
        paths = {index: f"{self._folder}/{index}" for index in _INDEXES}
        taken = {i: files.read(self._tree, p) for i, p in paths.items() if files.is_file(self._tree, p)}
        return [newc.Entry(f"{self._root}/{name}", content) for name, content in (made | taken).items()]

    def _folders(self, entries: Iterable[newc.Entry]) -> list[newc.Entry]:
        """Return the folders that the image lacks, upper ones first; a folder that is there is never named."""
        needed: set[str] = set()
        for entry in entries:
            folder = posixpath.dirname(entry.path)
            while folder not in self._layout.folders and folder not in needed:
                needed.add(folder)
                folder = posixpath.dirname(folder)
        return [newc.folder(path) for path in sorted(needed)]

    def _preload(self, drivers: Sequence[str]) -> list[newc.Entry]:
        if self._layout.generator != "initramfs-tools":
            return []
        text = self._layout.preload
        if text is None:
            raise Unproven(f"its {PRELOAD} cannot be read")
        named = {_plain(line.split()[0]) for line in text.splitlines() if line.split()}
        new = "".join(f"{driver}\n" for driver in drivers if driver not in named)
        glue = "" if not text or text.endswith("\n") else "\n"
        return [newc.Entry(PRELOAD, (text + glue + new).encode("utf-8", "surrogateescape"))]


def _folder(tree: Tree, kernel: Kernel) -> str:
    folders = [f"{root}/{kernel.release}" for root in MODULE_ROOTS]
    found = next((f for f in folders if files.is_file(tree, f"{f}/modules.dep")), None)
    if found is None:
        raise Unproven("modules.dep is missing")
    return found


def _root(kernel: Kernel, image: InitramfsFacts) -> str:
    """Return where the image keeps its modules; everything that loads them must be there already."""
    layout = image.layout
    if not layout.generator:
        raise Unproven("neither dracut nor initramfs-tools has made it")
    roots = [root for root in layout.roots if posixpath.basename(root) == kernel.release]
    if len(roots) != 1:
        raise Unproven(f"it has {len(roots)} folders with the modules.dep of {kernel.release}, 1 is needed")
    return roots[0]


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _unpacked(content: bytes, path: str) -> bytes:
    row = compression.detect(content[: compression.MAGIC_SIZE])
    if row is None:
        raise Unproven(f"{path} is packed in an unknown way")
    source = Source(iter((content,)), path, _MODULE_MAX)
    whole = b""
    try:
        for piece in compression.unpack(row, source):
            whole += piece
            if len(whole) > _MODULE_MAX:
                raise Unproven(f"{path} has more than {_MODULE_MAX} bytes unpacked")
    except GuestError as error:
        raise Unproven(error.message) from error
    return whole
