"""What a test does with a guest's console: wait for a text, log in, run commands, shut down."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
from dataclasses import dataclass

from tests.boot.machine import ANSI, Machine

BOOT_TIMEOUT = 600.0
RUN_TIMEOUT = 300.0
# A boot that shows one of these on the console never comes to a login.
_DEAD_ENDS = re.compile(
    rb"Kernel panic - not syncing|You are in emergency mode|Entering emergency mode|grub rescue>|"
    rb"\r?\n\(initramfs\) |No bootable device|BdsDxe: No bootable option|EFI Internal Shell"
)


@dataclass(frozen=True, slots=True)
class Result:
    """One command's exit status and what it wrote to stdout and stderr together."""

    status: int
    output: str


class Boot(Machine):
    """A running guest to talk to; leaving the `with` block ends QEMU and removes the overlay."""

    _shell = False
    _cursor = 0
    _mark = 0
    _cleared_at = 0.0
    _shown = False
    _entered = False

    def wait_for(self, pattern: bytes, timeout: float = BOOT_TIMEOUT) -> re.Match[bytes]:
        """Await a regular expression behind the last match; a panic or an emergency shell fails at once."""
        found = self._await(re.compile(pattern), timeout)
        if found is None:
            raise self.failure(f"no {pattern!r} within {timeout:.0f} s")
        return found

    def _await(self, pattern: re.Pattern[bytes], timeout: float) -> re.Match[bytes] | None:
        deadline = time.monotonic() + timeout
        while True:
            fresh = bytes(self.transcript[self._cursor :])
            if match := pattern.search(fresh):
                self._cursor += match.end()
                return match
            if dead := _DEAD_ENDS.search(fresh):
                self.pump(3)
                raise self.failure(f"{dead.group().strip().decode()!r} while waiting for {pattern.pattern!r}")
            self._hurry()
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if not self.pump(min(left, 5.0 if self._entered else 1.0)):
                raise self.failure(f"QEMU ended while waiting for {pattern.pattern!r}")

    def _hurry(self) -> None:
        """End GRUB's wait at its menu, which counts emulated instructions: its seconds take minutes of ours.

        A hidden menu waits as well, and is shown by Esc.
        """
        if self._entered or not self.transcript:
            return
        if b"Linux version" in self.transcript:
            self._entered = True
        elif b"GNU GRUB" in self.transcript:
            self._entered = True
            self.press("ret")
        elif self.firmware == "bios" and not ANSI.sub(b"", bytes(self.transcript)).strip():
            self._cleared_at = self._cleared_at or time.monotonic()
            if not self._shown and time.monotonic() - self._cleared_at > 2:
                self._shown = True
                self.press("esc")

    def login(self, user: str, password: str, timeout: float = BOOT_TIMEOUT) -> None:
        """Log in on the serial console and leave a quiet shell there."""
        self.wait_for(rb"login: ", timeout)
        for _ in range(5):
            self.send(user)
            if self._await(re.compile(rb"[Pp]assword: ?"), 60) is None:
                continue  # a kernel message may have eaten the prompt, or the line the user name
            self.send(password)
            if self._shell_answers():
                self._shell = True
                # Kernel messages share the line with what we read.
                self.run("sudo -n dmesg -n 1 || dmesg -n 1")
                return
            if b"incorrect" not in self.transcript[-2000:]:
                break
            self.wait_for(rb"login: ", 60)
        raise self.failure(f"could not log in as {user}")

    def _shell_answers(self) -> bool:
        mark = f"{self._next_mark()}"
        for _ in range(12):
            # A plain sh: bash's line editing repeats what is typed, and would keep a history of ours in the guest.
            self.send(" exec env -u ENV PS1= PS2= TERM=dumb sh")
            # The echo of this line does not match what the shell makes of it.
            self.send(f" stty -echo; printf '@@%s@@\\n' shell-{mark}")
            if found := self._await(re.compile(rb"@@shell-%s@@|incorrect" % mark.encode()), 10):
                return found.group() != b"incorrect"
        return False

    def run(self, command: str, timeout: float = RUN_TIMEOUT) -> Result:
        """Run a shell command in the login shell; its standard input is empty.

        Command and output travel as base64, the output with a checksum: what else is written to the console
        meanwhile costs a repetition and never a wrong answer.
        """
        mark = f"{os.getpid()}-{self._next_mark()}"
        name = f"/tmp/.boot-{mark}"
        encoded = base64.b64encode(command.encode()).decode()
        # The terminal takes at most 4,095 characters a line.
        for start in range(0, len(encoded), 1000):
            self.send(f" printf %s '{encoded[start : start + 1000]}' >>{name}")
        self.send(
            f" ( eval \"$(base64 -d {name})\" ) >{name}.out 2>&1 </dev/null; printf '\\n@@%s %d@@\\n' '{mark}' $?"
        )
        status = int(self.wait_for(rb"@@%s (\d+)@@" % mark.encode(), timeout).group(1))
        for _ in range(5):
            output = self._fetch(f"{name}.out")
            if output is not None:
                self.send(f" rm -f {name} {name}.out")
                return Result(status, output.decode(errors="replace"))
        raise self.failure(f"the output of {command!r} came garbled five times")

    def _next_mark(self) -> int:
        self._mark += 1
        return self._mark

    def _fetch(self, path: str) -> bytes | None:
        mark = f"{self._next_mark()}"
        self.send(
            f" printf '\\n@@%s@@\\n' begin-{mark}; base64 {path};"
            f" printf '@@%s %s@@\\n' end-{mark} \"$(sha256sum <{path} | cut -c1-64)\""
        )
        pattern = rb"@@begin-%s@@(.*?)@@end-%s ([0-9a-f]{64})@@" % (mark.encode(), mark.encode())
        found = self._await(re.compile(pattern, re.DOTALL), RUN_TIMEOUT)
        if found is None:
            return None
        body = ANSI.sub(b"", found.group(1))
        # Whole lines that are no base64 are others' messages.
        lines = [line for line in body.split() if re.fullmatch(rb"[A-Za-z0-9+/]+={0,2}", line)]
        return _checked(b"".join(lines), found.group(2).decode())

    def check(self, command: str, timeout: float = RUN_TIMEOUT) -> str:
        """As `run`, and any other exit status than 0 is an error."""
        result = self.run(command, timeout)
        if result.status:
            raise self.failure(f"exit {result.status}: {command}\n{result.output}")
        return result.output

    def poweroff(self, timeout: float = RUN_TIMEOUT) -> None:
        """Shut down cleanly and await the end of QEMU; a guest nobody logged in to gets the power button."""
        assert self._qemu is not None
        if self._shell:
            self.send(" sudo -n systemctl poweroff || systemctl poweroff")
        else:
            self.qmp("system_powerdown")
        deadline = time.monotonic() + timeout
        while self.pump(5):
            if time.monotonic() > deadline:
                raise self.failure(f"still running {timeout:.0f} s after power-off")
        self._qemu.wait(30)


def _checked(encoded: bytes, digest: str) -> bytes | None:
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None
