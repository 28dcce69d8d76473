"""DHCP as Azure answers it: QEMU's own server cannot send the options that the agents live by. Pure: frames in and out.

Option 245 is the WireServer's address (cloud-init's `_find_server_address`), 121 and 249 are the routes (RFC 3442).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.rehearsal.identity import ADDRESS, GATEWAY, IMDS, NETMASK, WIRESERVER, Identity

_ETHERNET, _IP, _UDP, _BOOTP = 14, 20, 8, 236
_COOKIE = bytes((99, 130, 83, 99))
_DISCOVER, _OFFER, _REQUEST, _ACK, _INFORM = 1, 2, 3, 5, 8
_SERVER_PORT, _CLIENT_PORT = 67, 68
#: No such machine exists: an Azure gateway answers every ARP with this one.
_GATEWAY_MAC = bytes.fromhex("123456789abc")
_IPV4 = bytes.fromhex("0800")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; `kind` is option 53, `header` the fixed part of its message."""

    kind: int
    header: bytes
    mac: bytes


def parse(frame: bytes) -> Request | None:
    """Return the request in an Ethernet frame, or None for a frame that is no DHCP request."""
    if len(frame) < _ETHERNET + _IP + _UDP + _BOOTP + 4 or frame[12:14] != _IPV4 or frame[23] != 17:
        return None
    udp = _ETHERNET + (frame[14] & 0xF) * 4
    if struct.unpack_from("!H", frame, udp + 2)[0] != _SERVER_PORT:
        return None
    message = frame[udp + _UDP :]
    if len(message) < _BOOTP + 4 or message[_BOOTP : _BOOTP + 4] != _COOKIE:
        return None
    options = dict(_options(message[_BOOTP + 4 :]))
    return Request((options.get(53) or b"\0")[0], message[:_BOOTP], frame[6:12])


def reply(request: Request, identity: Identity) -> bytes | None:
    """Return the frame that answers, or None where nothing is to be said."""
    kind = {_DISCOVER: _OFFER, _REQUEST: _ACK, _INFORM: _ACK}.get(request.kind)
    if kind is None:
        return None
    header = bytearray(request.header)
    header[0] = 2  # BOOTREPLY
    header[16:20] = _packed(ADDRESS)
    header[20:24] = _packed(WIRESERVER)
    message = bytes(header) + _COOKIE + b"".join(_encoded(kind, identity)) + b"\xff"
    return _frame(message.ljust(300, b"\0"), request.mac)


def is_ack(request: Request) -> bool:
    """Tell whether the answer to it gives the client its address."""
    return request.kind == _REQUEST


def _encoded(kind: int, identity: Identity) -> Iterator[bytes]:
    everywhere = (b"\0", *(b"\x20" + _packed(address) for address in (WIRESERVER, IMDS)))
    routes = b"".join(route + _packed(GATEWAY) for route in everywhere)
    options = (
        (53, bytes((kind,))),
        (1, _packed(NETMASK)),
        (3, _packed(GATEWAY)),
        (6, _packed(WIRESERVER)),
        (15, identity.domain.encode()),
        (51, b"\xff\xff\xff\xff"),
        (54, _packed(WIRESERVER)),
        (121, routes),
        (249, routes),
        (245, _packed(WIRESERVER)),
    )
    yield from (bytes((code, len(value))) + value for code, value in options)


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        if at + 1 >= len(data):
            return
        yield data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]


def _frame(message: bytes, mac: bytes) -> bytes:
    """Wrap a message into UDP, IPv4 and Ethernet; a UDP checksum of 0 means that there is none (RFC 768)."""
    udp = struct.pack("!HHHH", _SERVER_PORT, _CLIENT_PORT, _UDP + len(message), 0) + message
    head = struct.pack("!BBHHHBBH", 0x45, 0, _IP + len(udp), 0, 0, 64, 17, 0) + _packed(WIRESERVER)
    head += b"\xff\xff\xff\xff"
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return mac + _GATEWAY_MAC + _IPV4 + head + udp


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _packed(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed
