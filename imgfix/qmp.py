"""The little of QEMU's machine protocol (QMP) that imgfix needs: unplugging the appliance's network cable.

https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html#command-QMP-net.set_link
"""

from __future__ import annotations

import json
import socket
from io import BufferedRWPair
from pathlib import Path

from imgfix.errors import HostError

#: Seconds to wait for an answer of QEMU; it answers at once unless the host swaps.
_TIMEOUT = 60.0


def cut_link(control: Path, netdev: str) -> None:
    """Take the link of `netdev` down in the QEMU behind the QMP socket `control`; raises HostError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(_TIMEOUT)
            link.connect(str(control))
            with link.makefile("rwb") as stream:
                stream.readline()  # the greeting
                _command(stream, "qmp_capabilities")
                _command(stream, "set_link", name=netdev, up=False)
    except (OSError, ValueError) as error:
        raise HostError(
            f"the appliance's network cannot be cut after the packages were installed: {error}",
            hint="this would let guest code reach the network; nothing was published",
        ) from error


def _command(stream: BufferedRWPair, command: str, **arguments: object) -> None:
    stream.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
    stream.flush()
    while True:
        line = stream.readline()
        if not line:
            raise OSError("QEMU closed its control socket")
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(answer["error"].get("desc", "unknown error"))
        if "return" in answer:
            return
