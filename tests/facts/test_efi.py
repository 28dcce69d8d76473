from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.facts.efi import EfiProgram, Kind, read_program

from . import efi_writer as efi


def test_shim() -> None:
    assert read_program(efi.shim()) == EfiProgram(
        Kind.SHIM, "x64", True, stage="grubx64.efi", fallback="fbx64.efi"
    )
    suse = read_program(efi.shim("grub.efi", "fallback.efi"))
    assert suse is not None
    assert (suse.stage, suse.fallback) == ("grub.efi", "fallback.efi")
    # Names that are not found are those of the upstream project.
    bare = read_program(efi.program((".data", b"UEFI SHIM\n"), machine=efi.AA64))
    assert bare == EfiProgram(Kind.SHIM, "aa64", False, stage="grubaa64.efi", fallback="fbaa64.efi")


DEBIAN = efi.grub("/EFI/debian", config="normal (memdisk)/grub.cfg\n", memdisk=b"source $cmdpath/grub.cfg")


@pytest.mark.parametrize(
    ("data", "prefix", "searches", "beside"),
    [
        # Debian, signed: the memdisk has a grub.cfg that tries $prefix and $cmdpath
        (DEBIAN, "/EFI/debian", False, True),
        # Red Hat: normal.mod tries $fw_path
        (efi.grub("/EFI/redhat", more=b"fw_path"), "/EFI/redhat", False, True),
        # SUSE: no prefix
        (efi.grub(""), "", False, True),
        (efi.grub(), "", False, True),
        # grub-install
        (efi.grub("(,gpt3)/boot/grub"), "(,gpt3)/boot/grub", True, False),
        (efi.grub("", config="search.fs_uuid 0a34 root \nset prefix=($root)/boot/grub\n"), "", True, True),
        # a GRUB of the network knows one place only
        (efi.grub("/grub"), "/grub", False, False),
    ],
)
def test_grub(data: bytes, prefix: str, searches: bool, beside: bool) -> None:
    found = read_program(data)
    assert found == EfiProgram(Kind.GRUB, "x64", prefix=prefix, searches=searches, beside=beside)


def test_others() -> None:
    assert read_program(efi.grub_legacy()) == EfiProgram(Kind.GRUB_LEGACY, "x64")
    assert read_program(efi.other(machine=efi.IA32)) == EfiProgram(Kind.OTHER, "ia32")
    assert read_program(efi.other(machine=0x9999)) == EfiProgram(Kind.OTHER, "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MZ",
        bytes(4096),
        b"\x7fELF".ljust(4096, b"\0"),
        efi.program(subsystem=3),
        efi.shim()[:-200],
        efi.grub("/EFI/debian")[:0x210],
        b"MZ".ljust(0x3C, b"\0") + b"\xff\xff\xff\xff",
    ],
)
def test_no_efi_program(data: bytes) -> None:
    assert read_program(data) is None


def test_a_signature_beyond_the_end_is_none() -> None:
    found = read_program(efi.shim()[:-3])
    assert found is not None
    assert not found.signed


@given(st.data())
def test_damage_never_raises(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([efi.shim(), efi.grub("/EFI/x", config="a"), efi.other()])))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    read_program(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
