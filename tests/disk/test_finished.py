"""A finished disk: what Azure would not take is told, and imgfix's own footer and sgdisk's own GPT are fine."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from imgfix.disk.finished import faults, misaligned, overlapping, require_finished
from imgfix.disk.partition import Partition, PartitionTable, read_partitions
from imgfix.disk.sector import ReadAt
from imgfix.disk.size import MIB
from imgfix.disk.vhd import fixed_footer
from imgfix.errors import VerifyError

SIZE = 24 * MIB


def _footer(size: int = SIZE) -> bytes:
    return fixed_footer(size, timestamp=1_700_000_000, unique_id=uuid.UUID(int=7))


def _reader(data: bytes) -> ReadAt:
    return lambda offset, length: data[offset : offset + length]


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A disk that sgdisk has partitioned; it sleeps for a second whenever it writes."""
    path = tmp_path_factory.mktemp("gpt") / "disk"
    with path.open("wb") as stream:
        stream.truncate(SIZE)
    subprocess.run(("sgdisk", "-n", "1:2048:8191", "-n", "2:8192:0", path), check=True, capture_output=True)
    return path.read_bytes()


def test_as_azure_wants_it(gpt: bytes) -> None:
    assert faults(_reader(gpt), SIZE, _footer()) == ()
    require_finished(_reader(gpt), SIZE, _footer())


def test_a_raw_disk_of_an_odd_size(gpt: bytes) -> None:
    found = faults(_reader(gpt + bytes(512)), SIZE + 512, None)
    assert [f.requirement for f in found] == ["R1", "R8", "R8"]
    assert "no footer" in found[0].text
    assert f"{SIZE + 512} bytes" in found[1].text
    assert f"{SIZE + MIB} bytes" in found[1].text
    assert "backup" in found[2].text


def _edited(at: int, value: bytes) -> Callable[[bytes], bytes]:
    """Edit a footer and make its checksum right again."""

    def edit(footer: bytes) -> bytes:
        new = footer[:at] + value + footer[at + len(value) :]
        total = ~sum(new[:64] + new[68:]) & 0xFFFF_FFFF
        return new[:64] + total.to_bytes(4, "big") + new[68:]

    return edit


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda footer: b"x" + footer[1:], "no VHD footer"),
        (lambda footer: footer[:100] + b"x" + footer[101:], "checksum"),
        (_edited(48, (SIZE // 2).to_bytes(8, "big")), f"{SIZE // 2}"),
        (_edited(60, (3).to_bytes(4, "big")), "dynamic"),
        (_edited(16, (512).to_bytes(8, "big")), "names a header at 0x200"),
        (_edited(84, b"\1"), "memory was saved"),
    ],
)
def test_a_wrong_footer(gpt: bytes, edit: Callable[[bytes], bytes], told: str) -> None:
    with pytest.raises(VerifyError, match=told):
        require_finished(_reader(gpt), SIZE, edit(_footer()))


@pytest.mark.parametrize(("at", "told"), [(SIZE - 512, "backup"), (1024, "primary GPT is damaged")])
def test_a_damaged_gpt(gpt: bytes, at: int, told: str) -> None:
    damaged = gpt[:at] + bytes(128) + gpt[at + 128 :]
    with pytest.raises(VerifyError, match=told):
        require_finished(_reader(damaged), SIZE, _footer())


def test_partitions_across_blocks_and_each_other(gpt: bytes) -> None:
    table = read_partitions(_reader(gpt), SIZE)
    assert misaligned(table) == ()
    assert overlapping(table) == ()
    first = table.partitions[0]
    odd = replace(first, number=7, start=first.start + 512)
    wrong = PartitionTable("gpt", None, False, (*table.partitions, odd))
    assert [text.split(",")[0] for text in misaligned(wrong)] == [f"partition 7 begins at byte {odd.start}"]
    assert overlapping(wrong)[0].startswith(
        f"partition {first.number} ends at byte {first.end}, and partition 7"
    )


def _piece(number: int, first: int, last: int, kind: str = "0x83") -> Partition:
    """A partition from MiB `first` to MiB `last`."""
    return Partition(number, first * MIB, (last - first) * MIB, kind, "")


@pytest.mark.parametrize("kind", ["0x05", "0x0f", "0x85"])
def test_logical_partitions_lie_in_the_extended_one(kind: str) -> None:
    """As Debian's installer makes it: swap in a logical partition."""
    pieces = (_piece(1, 1, 30), _piece(2, 31, 40, kind), _piece(5, 32, 36), _piece(6, 36, 40))
    assert overlapping(PartitionTable("mbr", None, True, pieces)) == ()
    into_the_next = (*pieces[:2], _piece(5, 32, 37), pieces[3])
    assert [text.split()[1] for text in overlapping(PartitionTable("mbr", None, True, into_the_next))] == [
        "5"
    ]
    primary_into_extended = (_piece(1, 1, 32), *pieces[1:3])
    (told,) = overlapping(PartitionTable("mbr", None, True, primary_into_extended))
    assert told == f"partition 1 ends at byte {32 * MIB}, and partition 2 begins at byte {31 * MIB}"
