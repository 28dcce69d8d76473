"""One `imgfix apply` in a process of its own, so that its crash is its own; all it says goes into the image's log."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import BinaryIO

from imgfix.batch.image import Image
from imgfix.batch.result import Attempt
from imgfix.disk.fault import host_errors
from imgfix.errors import ExitCode

#: Seconds that an apply has to end in good order after SIGTERM.
GRACE = 30.0
#: What of an apply's messages is kept for the verdict, in bytes; the log has all.
_KEPT = 64 << 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an apply ended. `verdict` and `hint` are its own words where it failed."""

    attempt: Attempt
    hint: str | None


@dataclass(slots=True)
class _Listening:
    """Reads an apply's output: everything into the log, its phases to `tell`, and the end kept."""

    log: BinaryIO
    tell: Callable[[str], None]
    kept: bytearray = field(default_factory=bytearray)
    line: bytearray = field(default_factory=bytearray)

    async def follow(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(1 << 16):
            self.log.write(piece)
            self.log.flush()
            self.kept += piece
            del self.kept[:-_KEPT]
            self.line += piece
            *whole, rest = self.line.split(b"\n")
            self.line = bytearray(rest[-_KEPT:])
            for line in whole:
                # A phase begins with a line of its own; what is indented is said within it.
                if line.endswith(b" ...") and not line.startswith(b" "):
                    self.tell(line[:-4].decode("utf-8", "replace"))


async def apply(image: Image, *, force: bool, tell: Callable[[str], None]) -> Outcome:
    """Run one apply of `image` to its end; `tell` gets its phases. Cancelled, it ends the apply first.

    Raises HostError where the log cannot be written.
    """
    began, start = datetime.now(timezone.utc), time.monotonic()
    arguments = image.arguments(force=force)
    with host_errors("writing the log", image.log):
        log = image.log.open("ab")
    with log:
        log.write(f"--- {began:%Y-%m-%d %H:%M:%S} UTC: imgfix {' '.join(arguments)}\n".encode())
        log.flush()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "imgfix.batch.child", str(os.getpid()), *arguments),
            # The log has long lines: nothing is to be cut or broken at the 80 columns of no terminal.
            env={**os.environ, "COLUMNS": "1000"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C is for the batch, which then ends its applies.
            start_new_session=True,
        )
        assert process.stdout is not None
        listening = _Listening(log, tell)
        try:
            await listening.follow(process.stdout)
            status = await process.wait()
        finally:
            await _end(process)
        seconds = time.monotonic() - start
        verdict, hint = _verdict(status, listening.kept.decode("utf-8", "replace"))
        log.write(f"--- exit {status} after {seconds:.1f} s\n".encode())
    attempt = Attempt(
        began=began.isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        exit_code=status,
        verdict=verdict,
    )
    return Outcome(attempt, hint)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End an apply that still runs: with SIGTERM it removes its work copy, with SIGKILL only its process."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), GRACE)
        except asyncio.TimeoutError:
            continue


def _verdict(status: int, said: str) -> tuple[str, str | None]:
    """Return an apply's last error and hint, or what its end says by itself."""
    if status < 0:
        name = signal.Signals(-status).name
        return f"imgfix apply was killed by {name}", "for lack of memory? `journalctl -k` tells"
    if status == ExitCode.DONE:
        # what the guest is, its kernels and the profile stand in the line above
        told = re.search(r"^(.+)\nready: ", said, re.MULTILINE)
        return f"ready: {told[1].strip()}" if told else "ready", None
    _, found, error = ("\n" + said).rpartition("\nerror: ")
    if not found:
        return f"imgfix apply ended with exit code {status} and no message", "its log has all that it said"
    message, _, hint = error.partition("\nhint: ")
    return message.strip(), hint.strip() or None
