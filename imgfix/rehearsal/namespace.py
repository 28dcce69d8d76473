"""A network of the rehearsal's own, which an ordinary user may make: user, network and PID namespaces.

Azure's two addresses are put on its loopback; nothing else is in it, so a guest reaches the rehearsal's servers and no
other machine. https://man7.org/linux/man-pages/man7/user_namespaces.7.html
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from imgfix.errors import HostError

_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x1000_0000, 0x2000_0000, 0x4000_0000
_SIOCSIFADDR, _SIOCSIFFLAGS, _SIOCSIFNETMASK = 0x8916, 0x8914, 0x891C
_IFF_UP_RUNNING = 0x1 | 0x40
_PR_SET_PDEATHSIG = 1

_HINT = (
    "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 24.04), user.max_user_namespaces=10000 (RHEL 7); in a "
    "container: --cap-add SYS_ADMIN, or --security-opt seccomp=unconfined"
)


def die_with_parent() -> None:
    """Have this process killed when the one that started it ends, in whatever way (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def enter(addresses: Sequence[str]) -> bool:
    """Fork a process into new namespaces with `addresses` on lo; this one must have a single thread.

    True in the new process, whose end ends everything that it started: it is the first of its PID namespace. False in
    this one, after that. Raises HostError.
    """
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWPID | _CLONE_NEWNET) == 0:
            _map_ids(uid, gid)
        elif uid != 0 or libc.unshare(_CLONE_NEWPID | _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        _bring_up(addresses)
    except OSError as error:
        raise HostError(
            f"this host does not let user {uid} make a network of its own, in which the rehearsal simulates Azure: "
            f"{error.strerror or error}",
            hint=_HINT,
        ) from error
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        _guard(child, ours)
        return False
    os.close(ours)
    die_with_parent()
    return True


def _guard(child: int, ended: int) -> None:
    """Wait until the child has ended, or standard input is closed: then end it, which no process within can.

    The first process of a PID namespace gets no signal that comes from inside (pid_namespaces(7)).
    """
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            break
        if not os.read(0, 4096):
            os.kill(child, signal.SIGKILL)
            break
    os.waitpid(child, 0)


def _map_ids(uid: int, gid: int) -> None:
    """Be root inside: only root may bind ports below 1024 and raise an interface."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _bring_up(addresses: Sequence[str]) -> None:
    """By ioctl (netdevice(7)), as `ip` need not be installed; an alias `lo:1` carries a further address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))
        for number, address in enumerate(addresses):
            name = f"lo:{number}".encode()
            for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.255")):
                packed = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(control, request, packed)
