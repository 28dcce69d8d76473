"""initramfs: which modules an image holds and which of its texts name devices, without running anything."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import stat
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import BinaryIO, Protocol

from imgfix.errors import GuestError
from imgfix.facts import compression, cpio
from imgfix.facts.model import InitramfsFacts, InitramfsLayout
from imgfix.facts.source import CHUNK, Source

#: Files inside an initramfs that can name devices of the machine it was built on or keep drivers from loading,
#: and who put them there.
#: `*` matches within one folder.
HOOKS: tuple[tuple[str, str], ...] = (
    ("conf/conf.d/*", "initramfs-tools(7): resume=, and cryptroot before Debian 10"),
    ("conf/param.conf", "initramfs-tools(7): what boot scripts set at run time, ROOT= among it"),
    ("cryptroot/crypttab", "cryptsetup-initramfs: source devices of encrypted root and swap"),
    ("etc/cmdline", "dracut.cmdline(7), before 013: root=, rd_LVM_LV="),
    (
        "etc/cmdline.d/*.conf",
        "dracut.cmdline(7): root=, resume=, rd.lvm.lv=, rd.luks.uuid= of a host-only image",
    ),
    ("etc/crypttab", "dracut crypt and systemd-cryptsetup"),
    ("etc/fstab", "dracut fstab-sys and rootfs-block: file systems to mount or check"),
    ("etc/fstab.sys", "dracut fstab-sys: mounted before the root is switched to"),
    ("etc/lvm/devices/system.devices", "lvmdevices(8): physical volumes by device id; others are not used"),
    ("etc/modprobe.d/*.conf", "modprobe.d(5), which udev's own loading of drivers heeds as well"),
    ("lib/modprobe.d/*.conf", "the same, of packages; dracut's rd.driver.blacklist is not in the image"),
    ("usr/lib/modprobe.d/*.conf", "the same, usr-merged"),
    (
        "lib/dracut/hooks/initqueue/finished/devexists-*.sh",
        "dracut wait_for_dev: the boot waits for the device",
    ),
    ("usr/lib/dracut/hooks/initqueue/finished/devexists-*.sh", "the same, usr-merged"),
    ("var/lib/dracut/hooks/initqueue/finished/devexists-*.sh", "the same, dracut 104 and later"),
)

#: Where modules are: the second where /lib is no link to usr/lib.
MODULE_ROOTS = ("usr/lib/modules", "lib/modules")

#: What initramfs-tools loads first, one module with its options a line (initramfs-tools(7)).
PRELOAD = "conf/modules"

#: What only one generator's images hold.
MARKS: tuple[tuple[str, str], ...] = (
    ("conf/initramfs.conf", "initramfs-tools"),
    ("lib/dracut-lib.sh", "dracut"),
    ("usr/lib/dracut-lib.sh", "dracut"),
    ("lib/dracut/*", "dracut"),
    ("usr/lib/dracut/*", "dracut"),
)

#: A hook is a text of some lines; what is longer is none. Together they stay below the second number (bytes).
HOOK_SIZE = 64 * 1024
HOOKS_TOTAL = 4 * 1024 * 1024

#: Limits against images made to exhaust the host: packed plus unpacked bytes, and entries.
UNPACKED_LIMIT = 4 * 1024**3
ENTRY_LIMIT = 200_000

#: Longest file name of a Linux file system (NAME_MAX); a longer module name is no module.
MODULE_NAME_MAX = 255

_MODULE = re.compile(r"(?s)(?:.*/)?([^/]+)\.ko(?:\.(?:xz|zst|gz|bz2|lz4))?")


def module_name(path: str) -> str | None:
    """Return the kernel's name of the module in file `path` (hv_vmbus), or None if it is no module."""
    match = _MODULE.fullmatch(path)
    if match is None or len(match[1]) > MODULE_NAME_MAX:
        return None
    return match[1].replace("-", "_")


def is_hook(path: str) -> bool:
    """Tell whether the file `path` inside an initramfs is one of HOOKS."""
    return any(
        path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern) for pattern, _ in HOOKS
    )


def read_initramfs(stream: BinaryIO, path: str, size: int) -> InitramfsFacts:
    """Return what the initramfs in `stream` holds; `path` and `size` (bytes) are passed on into the facts.

    Reads what the kernel unpacks: cpio archives one after the other, each plain or compressed, any NUL
    padding between them, the later file of a path winning. `compression` is that of the largest compressed
    part, or "none"; `layout.tail` that of the last one, where "lz4 frame" is lz4 that no kernel unpacks.
    The stream is read once, forward, in some MiB of memory plus the compression's window.
    Raises GuestError, naming path and byte offset, on anything else.
    https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
    """
    contents = _Contents()
    packed, tail = _read(stream, path, contents)
    if not contents.entries:
        raise GuestError(f"{path}: an initramfs without any file ({size} bytes)")
    main = packed.most_common(1)[0][0] if packed else "none"
    hooks = tuple(sorted(contents.hooks.items()))
    return InitramfsFacts(path, size, main, frozenset(contents.modules), hooks, contents.layout(tail))


class _Reader(Protocol):
    """Gets the entries, one by one."""

    def add(self, member: cpio.Member, source: Source) -> None:
        """Take one entry; its content is next in `source`."""


class _Listing:
    """Only the entries themselves."""

    def __init__(self) -> None:
        self.members: list[cpio.Member] = []

    def add(self, member: cpio.Member, source: Source) -> None:
        """Keep one entry."""
        if len(self.members) >= ENTRY_LIMIT:
            raise source.fault(f"more than {ENTRY_LIMIT} files")
        if not member.is_trailer:
            self.members.append(member)


def list_initramfs(stream: BinaryIO, path: str) -> tuple[cpio.Member, ...]:
    """Return the entries of the initramfs in `stream`, in their order; reads and raises as read_initramfs does."""
    listing = _Listing()
    _read(stream, path, listing)
    return tuple(listing.members)


def _read(stream: BinaryIO, path: str, contents: _Reader) -> tuple[Counter[str], InitramfsLayout]:
    """Read all archives; return the packed bytes of each compression, and what the last part tells."""
    source = Source(iter(partial(stream.read, CHUNK), b""), path, UNPACKED_LIMIT)
    packed: Counter[str] = Counter()
    left = UNPACKED_LIMIT
    tail = InitramfsLayout()
    source.skip_nuls()
    while source.peek(1):
        start = source.offset
        row = compression.detect(source.peek(compression.MAGIC_SIZE))
        if row is None:
            _read_plain(source, contents)
            tail = InitramfsLayout(tail_size=source.offset - start)
        else:
            unpacked = _read_packed(
                row, source, Source(compression.unpack(row, source), path, left), contents
            )
            left -= unpacked
            packed[row.name] += source.offset - start
            name = "lz4 frame" if row.magic == compression.LZ4_FRAME_MAGIC else row.name
            tail = InitramfsLayout(tail=name, tail_size=unpacked)
        end = source.offset
        source.skip_nuls()
        tail = replace(tail, padding=source.offset - end)
    return packed, tail


def _read_plain(source: Source, contents: _Reader) -> None:
    if source.peek(cpio.MAGIC_SIZE) not in cpio.MAGICS:
        found = source.peek(cpio.MAGIC_SIZE)
        raise source.fault(f"neither a newc cpio archive nor a known compression ({found.hex()})")
    for member in cpio.members(source):
        contents.add(member, source)


def _read_packed(row: compression.Format, packed: Source, unpacked: Source, contents: _Reader) -> int:
    """Read all archives in one compressed part and return its unpacked size; errors name both offsets."""
    start = packed.offset
    try:
        unpacked.skip_nuls()
        while unpacked.peek(1):
            _read_plain(unpacked, contents)
            unpacked.skip_nuls()
    except GuestError as error:
        raise GuestError(
            f"{error.message} (in the {row.name} data from byte {start})", hint=error.hint
        ) from error
    return unpacked.offset


class _Contents:
    """What was found so far; a later entry replaces an earlier one of its path."""

    def __init__(self) -> None:
        self.entries = 0
        self.modules: set[str] = set()
        self.hooks: dict[str, str] = {}
        self._preload: str | None = ""
        self._generators: set[str] = set()
        self._kinds: dict[str, int] = {}
        self._hook_bytes = 0
        self._linked: dict[tuple[int, int, int], list[str]] = {}

    def add(self, member: cpio.Member, source: Source) -> None:
        """Note one entry, reading its content from `source` if it is a hook."""
        self.entries += 1
        if self.entries > ENTRY_LIMIT:
            raise source.fault(f"more than {ENTRY_LIMIT} files")
        if member.is_trailer:
            self._linked.clear()
            return
        self._place(member)
        if member.path == PRELOAD:
            # A linked one may have its text elsewhere; initramfs-tools does not link it.
            plain = member.is_file and member.links == 1 and member.size < HOOK_SIZE
            self._preload = self._text(member, source) if plain else None
        elif member.is_file and (name := module_name(member.path)):
            self.modules.add(name)
        else:
            self._add_hook(member, source)

    def _place(self, member: cpio.Member) -> None:
        """Note what tells the generator, and the modules' folders down from the top."""
        path = member.path
        self._generators |= {name for mark, name in MARKS if fnmatch.fnmatchcase(path, mark)}
        near = any(
            (root + "/").startswith(path + "/") or path.startswith(root + "/") for root in MODULE_ROOTS
        )
        if near or module_name(path):
            self._kinds[path] = stat.S_IFMT(member.mode)

    def layout(self, tail: InitramfsLayout) -> InitramfsLayout:
        """Return `tail` with everything that the entries tell."""
        kinds = self._kinds
        folders = {path for path, kind in kinds.items() if kind == stat.S_IFDIR}
        indexes = {posixpath.split(path)[0] for path in kinds if posixpath.basename(path) == "modules.dep"}
        modules = (path for path, kind in kinds.items() if module_name(path) and kind != stat.S_IFDIR)
        return replace(
            tail,
            generator=self._generators.pop() if len(self._generators) == 1 else "",
            roots=tuple(sorted(path for path in indexes if folders.issuperset(_upward(path)))),
            files=frozenset(modules),
            folders=frozenset(folders),
            preload=self._preload,
        )

    def _add_hook(self, member: cpio.Member, source: Source) -> None:
        """Hard links of one file share its content, which cpio stores with the last of them only."""
        hook = is_hook(member.path)
        if hook:
            self.hooks.pop(member.path, None)
        if not member.is_file or member.size >= HOOK_SIZE:
            return
        names = self._linked.setdefault(member.inode, []) if member.links > 1 else []
        if hook:
            names.append(member.path)
        if not names:
            return
        text = self._text(member, source) if member.size else self.hooks.get(names[0], "")
        self.hooks.update((name, text) for name in names)

    def _text(self, member: cpio.Member, source: Source) -> str:
        self._hook_bytes += member.size
        if self._hook_bytes > HOOKS_TOTAL:
            raise source.fault(f"more than {HOOKS_TOTAL} bytes of configuration")
        return source.take(member.size).decode("utf-8", "surrogateescape")


def _upward(folder: str) -> list[str]:
    """Return `folder` and the folders above it."""
    parts = folder.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
