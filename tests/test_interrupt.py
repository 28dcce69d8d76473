"""A signal during a call that Python cannot interrupt ends what the call waits for."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import hashlib, os, signal, sys, threading
from imgfix.interrupt import Interrupted, Interrupts

interrupts = Interrupts()
calls = []
with interrupts.installed(), interrupts.ending(lambda: calls.append("ended")):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.{name})).start()
    try:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 4_000_000)  # C code that looks at no signal for seconds
        calls.append("returned")
    except Interrupted as error:
        print(*calls, error.number, interrupts.seen)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_ender_is_called_before_the_call_returns(name: str) -> None:
    program = _PROGRAM.replace("{name}", name)
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "ended", done.stderr
    assert done.stdout.split()[2] == "True"


def test_nothing_is_installed_afterwards() -> None:
    program = (
        "import signal\nfrom imgfix.interrupt import Interrupts\n"
        "before = [signal.getsignal(s) for s in (2, 15, 1)]\n"
        "with Interrupts().installed(): pass\n"
        "assert [signal.getsignal(s) for s in (2, 15, 1)] == before\n"
        "assert signal.set_wakeup_fd(-1) == -1\n"
    )
    subprocess.run((sys.executable, "-c", program), check=True)
