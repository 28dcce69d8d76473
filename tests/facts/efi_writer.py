"""EFI programs of a few hundred bytes: what the real ones have that matters, and nothing to run.

Checked against Debian's grub-efi-amd64-signed 2.06, shim-signed 1.51 and what grub-mkimage makes; a real one is read
in tests/guests.
"""

from __future__ import annotations

import struct

X64, AA64, IA32 = 0x8664, 0xAA64, 0x14C
_HEADERS = 0x200


def program(
    *sections: tuple[str, bytes], machine: int = X64, subsystem: int = 10, signature: bytes = b""
) -> bytes:
    """A PE32+ file (PE32 for IA32) with these sections and a signature behind them."""
    magic, fields = (0x10B, 96) if machine == IA32 else (0x20B, 112)
    bodies, table, at = b"", b"", _HEADERS
    for name, content in sections:
        body = content.ljust(-(-len(content) // 64) * 64, b"\0")
        table += struct.pack("<8sIIII16s", name.encode(), len(content), at, len(body), at, b"")
        bodies += body
        at += len(body)
    optional = bytearray(fields + 16 * 8)
    struct.pack_into("<H", optional, 0, magic)
    struct.pack_into("<H", optional, 68, subsystem)
    if signature:
        struct.pack_into("<II", optional, fields + 4 * 8, at, len(signature))
    coff = struct.pack("<HHIIIHH", machine, len(sections), 0, 0, 0, len(optional), 0x22)
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
    return (
        (head.ljust(0x80, b"\0") + b"PE\0\0" + coff + bytes(optional) + table).ljust(_HEADERS, b"\0")
        + bodies
        + signature
    )


def shim(stage: str = "grubx64.efi", fallback: str = "fbx64.efi", *, machine: int = X64) -> bytes:
    """shim: its mark, and the names of what it starts in UTF-16."""
    names = "".join(f"\\{name}\0" for name in (fallback, f"EFI\\BOOT\\{fallback}", "mmx64.efi", f"\\{stage}"))
    mark = b"UEFI SHIM\n$Version: 15.8 $\n"
    return program((".data", mark + names.encode("utf-16-le")), machine=machine, signature=b"signed")


def grub(
    prefix: str | None = None,
    *,
    config: str = "",
    memdisk: bytes = b"",
    more: bytes = b"",
    machine: int = X64,
) -> bytes:
    """GRUB 2 with these objects in its section `mods`; `more` stands among its modules."""
    objects = [(0, b"\x7fELF normal" + more)]
    objects += [(1, memdisk)] if memdisk else []
    objects += [(2, config.encode() + b"\0")] if config else []
    objects += [(3, prefix.encode() + b"\0")] if prefix is not None else []
    content = b""
    for kind, data in objects:
        body = data.ljust(-(-len(data) // 8) * 8, b"\0")
        content += struct.pack("<II", kind, len(body) + 8) + body
    modules = struct.pack("<IIQQ", 0x676D696D, 0, 24, 24 + len(content)) + content
    return program((".text", b"GRUB cmp 0x676d696d mimg"), ("mods", modules), machine=machine)


def grub_legacy(*, machine: int = X64) -> bytes:
    """GRUB 0.97 for UEFI, as Enterprise Linux 6 has it."""
    return program((".data", b"GNU GRUB  version 0.97\0/grub.conf\0"), machine=machine)


def other(text: str = "#### LoaderInfo: systemd-boot 254 ####", *, machine: int = X64) -> bytes:
    """Any other EFI program."""
    return program((".sdmagic", text.encode()), machine=machine)
