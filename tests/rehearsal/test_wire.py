"""DHCP and names as the guest's clients send and read them."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from imgfix.rehearsal import dhcp
from imgfix.rehearsal.identity import Identity
from imgfix.rehearsal.wire import answer_name

IDENTITY = Identity("ssh-rsa AAAA rehearsal")
MAC = bytes.fromhex("000d3a7e5701")


def request(kind: int) -> bytes:
    """What dhclient broadcasts."""
    header = (
        struct.pack("!BBBBIHH", 1, 1, 6, 0, 0xDEADBEEF, 3, 0x8000)
        + bytes(16)
        + MAC.ljust(16, b"\0")
        + bytes(192)
    )
    message = header + bytes((99, 130, 83, 99)) + bytes((53, 1, kind, 55, 3, 1, 3, 245, 255))
    udp = struct.pack("!HHHH", 68, 67, 8 + len(message), 0) + message
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    return b"\xff" * 6 + MAC + b"\x08\x00" + ip + udp


def options(frame: bytes) -> dict[int, bytes]:
    found, at = {}, 14 + 20 + 8 + 240
    while frame[at] != 255:
        found[frame[at]] = frame[at + 2 : at + 2 + frame[at + 1]]
        at += 2 + frame[at + 1]
    return found


def test_an_offer_has_what_the_agents_look_for() -> None:
    asked = dhcp.parse(request(1))
    assert asked is not None
    assert not dhcp.is_ack(asked)
    answer = dhcp.reply(asked, IDENTITY)
    assert answer is not None
    assert answer[:6] == MAC
    assert answer[14 + 28 + 4 : 14 + 28 + 8] == struct.pack("!I", 0xDEADBEEF)
    assert answer[14 + 28 + 16 : 14 + 28 + 20] == bytes((10, 0, 0, 4))
    found = options(answer)
    assert found[53] == b"\x02"
    assert found[245] == bytes((168, 63, 129, 16))
    assert found[121] == found[249]
    assert found[121].startswith(bytes((0, 10, 0, 0, 1)))
    total = sum(struct.unpack("!10H", answer[14:34]))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_a_request_is_acknowledged_and_a_release_is_not_answered() -> None:
    asked = dhcp.parse(request(3))
    assert asked is not None
    assert dhcp.is_ack(asked)
    answer = dhcp.reply(asked, IDENTITY)
    assert answer is not None
    assert options(answer)[53] == b"\x05"
    released = dhcp.parse(request(7))
    assert released is not None
    assert dhcp.reply(released, IDENTITY) is None


@given(st.binary(max_size=600))
def test_other_frames_are_no_requests(frame: bytes) -> None:
    assert dhcp.parse(frame) is None or len(frame) >= 282


@given(st.integers(0, 300), st.binary(max_size=20))
def test_a_request_that_is_cut_or_garbled_raises_nothing(cut: int, tail: bytes) -> None:
    asked = dhcp.parse(request(1)[:cut] + tail)
    assert asked is None or dhcp.reply(asked, IDENTITY) is None or asked.kind


def question(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def test_the_vm_knows_its_own_name_and_no_other() -> None:
    known = {"rehearsal"}
    own = answer_name(question("REHEARSAL"), known)
    assert own is not None
    assert own[3] & 0xF == 0
    assert own.endswith(bytes((10, 0, 0, 4)))
    other = answer_name(question("deb.debian.org"), known)
    assert other is not None
    assert other[3] & 0xF == 3
    six = answer_name(question("rehearsal", 28), known)
    assert six is not None
    assert struct.unpack("!H", six[6:8]) == (0,)


@given(st.binary(max_size=80))
def test_a_garbled_question_raises_nothing(query: bytes) -> None:
    answer_name(query, {"rehearsal"})
