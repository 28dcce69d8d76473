"""The kernel itself unpacks what is appended: behind every compression, padding and alignment of an image.

The image's /init is a program of a hundred bytes that shows a file which both archives hold.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from imgfix.facts.initramfs import read_initramfs
from imgfix.facts.model import Kernel
from imgfix.pack import newc
from imgfix.steps.initramfs_append import Addition, addition
from tests.disks.host import kvm_works
from tests.facts.cpio_writer import COMPRESSORS, Item, archive, gz
from tests.fake_tree import FakeTree

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("appended")]

OLD, NEW = b"the old answer", b"the new answer"
_PATH = b"/answer\0"

# x86-64: open the file, read it to the stack, write that to the console, wait half a second for the serial line,
# and restart the machine, which ends QEMU.
_CODE = bytes.fromhex(
    "488d3d 57000000 31f6 b802000000 0f05"  # open(path, O_RDONLY)
    "89c7 4881ec00100000 4889e6 ba00100000 31c0 0f05"  # read(it, stack, 4096)
    "89c2 4889e6 bf01000000 b801000000 0f05"  # write(1, stack, what was read)
    "31ff 31f6 baf4010000 b807000000 0f05"  # poll(nothing, 500 ms)
    "bfaddee1fe be69191228 ba67452301 b8a9000000 0f05".replace(" ", "")  # reboot
)


def _program() -> bytes:
    """Return an ELF file of one segment: elf(5)."""
    base, head = 0x400000, 64 + 56
    code = _CODE[:3] + struct.pack("<i", len(_CODE) - 7) + _CODE[7:] + _PATH
    size = head + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return ident + elf + segment + code


MAIN = archive(Item("init", _program(), stat.S_IFREG | 0o755), ("answer", OLD), ("other", bytes(5000)))
EARLY = archive(("kernel/x86/microcode/GenuineIntel.bin", bytes(range(251))))

IMAGES = {
    **{name: compress(MAIN) for name, (_, compress) in COMPRESSORS.items() if name in ("gzip", "xz", "zstd")},
    "lz4": COMPRESSORS["lz4 legacy"][1](MAIN),
    "plain, cut where no archive may begin": MAIN + bytes(3),
    "microcode, gzip and padding": EARLY + gz(MAIN) + bytes(1001),
    "gzip, then a plain one": gz(MAIN) + bytes(-len(gz(MAIN)) % 4) + archive(("answer", b"of the second")),
}


def _kernel() -> Path:
    given = os.environ.get("SUPERMIN_KERNEL")
    found = [Path(given)] if given else sorted(Path("/boot").glob("vmlinuz-*"))
    assert found, "no kernel on this host; libguestfs needs one too"
    return found[-1]


def _boot(image: bytes, folder: Path) -> str:
    (folder / "initrd").write_bytes(image)
    argv = ["qemu-system-x86_64", "-accel", "kvm" if kvm_works() else "tcg", "-cpu", "max", "-m", "512"]
    argv += ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", str(_kernel())]
    argv += ["-initrd", str(folder / "initrd"), "-append", "console=ttyS0 panic=-1 reboot=t nokaslr"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=True)
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize("name", IMAGES)
def test_the_kernel_takes_the_appended_file_over_the_one_before(name: str, tmp_path: Path) -> None:
    image = IMAGES[name]
    facts = read_initramfs(io.BytesIO(image), "/boot/initrd", len(image))
    kernel = Kernel("6.1", "/boot/vmlinuz-6.1", facts, (), modules_dep=True)
    added = addition(FakeTree({}), kernel, (), [newc.Entry("answer", NEW)])
    assert isinstance(added, Addition)
    shown = _boot(image + added.content, tmp_path)
    assert NEW.decode() in shown, shown[-2000:]
    assert "unpacking failed" not in shown


def test_without_it_the_old_file_is_shown(tmp_path: Path) -> None:
    assert OLD.decode() in _boot(IMAGES["gzip"], tmp_path)
