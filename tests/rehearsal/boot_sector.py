"""A VHD whose boot sector writes a text to the serial port and halts: a guest that takes no time to boot."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

from imgfix.disk.vhd import EPOCH, fixed_footer

SIZE = 4 << 20
_LOADED = 0x7C00
#: xor ax,ax; mov ds,ax; cld; mov si,TEXT; again: lodsb; test al,al; jz end; mov dx,0x3f8; out dx,al; jmp again;
#: end: cli; hlt; jmp end
_CODE = "31c0 8ed8 fc be{text} ac 84c0 7406 baf803 ee ebf5 fa f4 ebfd"
_LENGTH = 23
_LONGEST = 440 - _LENGTH - 1


def write_vhd(path: Path, says: str) -> None:
    """Write the VHD, with one empty partition."""
    text = says.encode()
    assert len(text) <= _LONGEST
    code = bytes.fromhex(_CODE.format(text=struct.pack("<H", _LOADED + _LENGTH).hex()))
    assert len(code) == _LENGTH
    sector = bytearray(512)
    sector[: len(code) + len(text)] = code + text
    sector[446:462] = struct.pack("<B3sB3sII", 0x80, bytes(3), 0x83, bytes(3), 2048, SIZE // 512 - 2048)
    sector[510:] = b"\x55\xaa"
    path.write_bytes(
        bytes(sector).ljust(SIZE, b"\0") + fixed_footer(SIZE, timestamp=EPOCH, unique_id=uuid.UUID(int=4))
    )
