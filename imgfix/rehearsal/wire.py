"""The wire between the guest's network card and QEMU's user-mode network, and the name server behind it.

QEMU sends each Ethernet frame as one datagram; DHCP is answered here and never reaches QEMU's own server.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from imgfix.rehearsal import dhcp
from imgfix.rehearsal.identity import ADDRESS, GATEWAY, SUBNET, UNUSED_DNS, WIRESERVER, Identity

_FRAME = 65536
_LOCALHOST = "127.0.0.1"
_A, _NXDOMAIN = 1, 3


@dataclass(frozen=True, slots=True)
class Ports:
    """UDP ports in the rehearsal's own namespace: nobody else can have taken them."""

    card: int = 20001
    card_peer: int = 20002
    user: int = 20003
    user_peer: int = 20004


class Wire:
    """Carries frames both ways in a thread; `acknowledged` is called when DHCP has given the address."""

    def __init__(self, identity: Identity, acknowledged: Callable[[], None]) -> None:
        self.ports = Ports()
        self._identity = identity
        self._acknowledged = acknowledged
        self._card = _bound(self.ports.card_peer)
        self._user = _bound(self.ports.user_peer)

    def start(self) -> None:
        """Begin to carry; the threads end with the process."""
        for target in (self._from_card, self._from_user):
            threading.Thread(target=target, daemon=True).start()

    def arguments(self, ssh_port: int) -> list[str]:
        """QEMU's arguments for its two ends; the guest's SSH server comes out at `ssh_port`."""
        ports = self.ports
        user = f"user,id=user,net={SUBNET},host={GATEWAY},dns={UNUSED_DNS},ipv6=off"
        return [
            *("-netdev", _udp("card", ports.card_peer, ports.card)),
            *("-device", f"virtio-net-pci,netdev=card,mac={self._identity.mac},romfile="),
            *("-netdev", _udp("wire", ports.user_peer, ports.user)),
            *("-netdev", "hubport,id=hub-wire,hubid=1,netdev=wire"),
            *("-netdev", f"{user},hostfwd=tcp:{_LOCALHOST}:{ssh_port}-{ADDRESS}:22"),
            *("-netdev", "hubport,id=hub-user,hubid=1,netdev=user"),
        ]

    def _from_card(self) -> None:
        while True:
            frame = self._card.recv(_FRAME)
            request = dhcp.parse(frame)
            if request is None:
                _send(self._user, frame, self.ports.user)
                continue
            answer = dhcp.reply(request, self._identity)
            if answer is not None:
                _send(self._card, answer, self.ports.card)
            if dhcp.is_ack(request):
                self._acknowledged()

    def _from_user(self) -> None:
        while True:
            _send(self._card, self._user.recv(_FRAME), self.ports.card)


class Names(threading.Thread):
    """The name server at the WireServer's address: it knows the VM itself and nothing else."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(daemon=True)
        self._known = {identity.host_name, f"{identity.host_name}.{identity.domain}"}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((WIRESERVER, 53))

    def run(self) -> None:
        """Answer until the process ends."""
        while True:
            query, sender = self._socket.recvfrom(_FRAME)
            answer = answer_name(query, self._known)
            if answer is not None:
                self._socket.sendto(answer, sender)


def answer_name(query: bytes, known: set[str]) -> bytes | None:
    """Return the DNS answer (RFC 1035) to a query: an A record for a known name, else that there is none."""
    try:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii"))
            at += 1 + query[at]
        kind = struct.unpack_from("!H", query, at + 1)[0]
    except (IndexError, struct.error, UnicodeDecodeError):
        return None
    question = query[12 : at + 5]
    is_known = ".".join(labels).lower() in known
    record = b""
    if is_known and kind == _A:
        record = struct.pack("!HHHIH", 0xC00C, _A, 1, 60, 4) + ipaddress.IPv4Address(ADDRESS).packed
    flags = 0x8580 | (0 if is_known else _NXDOMAIN)
    return query[:2] + struct.pack("!HHHHH", flags, 1, 1 if record else 0, 0, 0) + question + record


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((_LOCALHOST, port))
    return made


def _send(sender: socket.socket, frame: bytes, port: int) -> None:
    try:
        sender.sendto(frame, (_LOCALHOST, port))
    except OSError:
        return  # nobody listens before QEMU runs, or after: a frame is lost, as on any wire


def _udp(name: str, remote: int, local: int) -> str:
    return f"socket,id={name},udp={_LOCALHOST}:{remote},localaddr={_LOCALHOST}:{local}"
