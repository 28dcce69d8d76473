"""Small sparse disks, made by the tools that users make theirs with."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgfix.disk.sector import ReadAt

MIB = 1 << 20
#: Any id but root's: what an ordinary user may not do is not permitted to it either.
NOBODY = 65534


def run(*argv: str | Path, text: str | None = None) -> str:
    """Run a tool; its output, both streams, as the result or as the failure."""
    done = subprocess.run(
        tuple(map(str, argv)),
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout


def sparse_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def gpt_disk(path: Path, size: int = 40 * MIB) -> Path:
    """ESP, BIOS boot and a root that reaches up to the backup; a little data in each."""
    sparse_file(path, size)
    first, last_usable = 12288, size // 512 - 34
    table = f"""label: gpt
label-id: 11111111-2222-3333-4444-555555555555
unit: sectors
first-lba: 34
1 : start=2048, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI System"
2 : start=10240, size=2048, type=21686148-6449-6E6F-744E-656564454649, attrs=LegacyBIOSBootable
3 : start={first}, size={last_usable - first + 1}, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name="wurzel"
"""
    # sgdisk would do as well, but sleeps a second after each write.
    run("sfdisk", "-q", path, text=table)
    scatter(path, MIB, 6 * MIB + 4096, 20 * MIB)
    return path


def mbr_disk(path: Path, size: int = 40 * MIB) -> Path:
    """One active primary, an extended partition with two logical ones in it, a swap behind."""
    sparse_file(path, size)
    table = """label: dos
label-id: 0xdeadbeef
unit: sectors
1 : start=2048, size=16384, type=83, bootable
2 : start=18432, size=40960, type=5
3 : start=59392, size=8192, type=82
5 : start=20480, size=8192, type=83
6 : start=30720, size=8192, type=8e
"""
    run("sfdisk", "-q", path, text=table)
    scatter(path, MIB, 10 * MIB)
    return path


def scatter(path: Path, *offsets: int) -> None:
    """Write 8 KiB of data at each offset."""
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(hashlib.sha256(str(offset).encode()).digest() * 256)


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reads(data: bytes) -> ReadAt:
    """A ReadAt over bytes in memory."""
    return lambda offset, length: data[offset : offset + length]


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read everything: step down to test permissions. An ordinary user already is one."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
