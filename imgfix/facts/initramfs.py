"""initramfs: which modules an image holds and which of its texts name devices, without running anything."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from functools import partial
from typing import BinaryIO

from imgfix.errors import GuestError
from imgfix.facts import compression, cpio
from imgfix.facts.model import InitramfsFacts
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
    part, or "none". The stream is read once, forward, in some MiB of memory plus the compression's window.
    Raises GuestError, naming path and byte offset, on anything else.
    https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
    """
    source = Source(iter(partial(stream.read, CHUNK), b""), path, UNPACKED_LIMIT)
    contents = _Contents()
    packed: Counter[str] = Counter()
    left = UNPACKED_LIMIT
    source.skip_nuls()
    while source.peek(1):
        start = source.offset
        row = compression.detect(source.peek(compression.MAGIC_SIZE))
        if row is None:
            _read_plain(source, contents)
        else:
            left -= _read_packed(row, source, Source(compression.unpack(row, source), path, left), contents)
            packed[row.name] += source.offset - start
        source.skip_nuls()
    if not contents.entries:
        raise GuestError(f"{path}: an initramfs without any file ({size} bytes)")
    main = packed.most_common(1)[0][0] if packed else "none"
    return InitramfsFacts(
        path, size, main, frozenset(contents.modules), tuple(sorted(contents.hooks.items()))
    )


def _read_plain(source: Source, contents: _Contents) -> None:
    if source.peek(cpio.MAGIC_SIZE) not in cpio.MAGICS:
        found = source.peek(cpio.MAGIC_SIZE)
        raise source.fault(f"neither a newc cpio archive nor a known compression ({found.hex()})")
    for member in cpio.members(source):
        contents.add(member, source)


def _read_packed(row: compression.Format, packed: Source, unpacked: Source, contents: _Contents) -> int:
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
        self._hook_bytes = 0
        self._linked: dict[tuple[int, int, int], list[str]] = {}

    def add(self, member: cpio.Member, source: Source) -> None:
        """Note one entry, reading its content from `source` if it is a hook."""
        self.entries += 1
        if self.entries > ENTRY_LIMIT:
            raise source.fault(f"more than {ENTRY_LIMIT} files")
        if member.is_trailer:
            self._linked.clear()
        elif member.is_file and (name := module_name(member.path)):
            self.modules.add(name)
        else:
            self._add_hook(member, source)

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
