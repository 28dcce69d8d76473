"""Boot a VHD or a raw disk in QEMU and talk to it over the serial console.

    with Boot(Path("d.vhd"), firmware="uefi") as vm:
        vm.login("tester", "tester")
        print(vm.run("cat /proc/cmdline").output)
        vm.poweroff()

By hand: `python -m tests.boot d.vhd --firmware bios --user tester --password tester -- 'cat /proc/cmdline'`.

The image is never written: the guest works on a qcow2 overlay over it. A VHD is opened as raw and the overlay is 512
bytes shorter than the file, so that the guest sees the disk without its footer. Timeouts are limits for a host
without KVM, never something to assert on.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import ctypes
import hashlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, get_args

from tests.disks.host import kvm_works

Firmware = Literal["bios", "uefi"]
Controller = Literal["virtio-scsi", "virtio-blk", "ide", "pvscsi"]

VHD_FOOTER = 512
BOOT_TIMEOUT = 600.0
RUN_TIMEOUT = 300.0

#: What QEMU's own DHCP server gives the guest.
ADDRESS = "10.0.2.15"

_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
)
# QEMU before 8 translates a program anew for each place in memory where it is run, and randomised addresses give
# each process its own. A systemd from 252 on takes this setting from its machine; it changes nothing else.
_ORDERLY = ("-smbios", "type=11,value=io.systemd.credential:sysctl.extra=kernel.randomize_va_space=0")
_DRIVES: dict[Controller, tuple[str, ...]] = {
    # Hyper-V presents its disks under these names.
    "virtio-scsi": (
        *("-device", "virtio-scsi-pci,id=scsi0"),
        *("-device", "scsi-hd,bus=scsi0.0,drive=disk,vendor=Msft,product=Virtual Disk,bootindex=1"),
    ),
    "virtio-blk": ("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
    # VMware's, whose driver the images of the test disks lack.
    "pvscsi": ("-device", "pvscsi,id=scsi0", "-device", "scsi-hd,bus=scsi0.0,drive=disk,bootindex=1"),
    "ide": ("-device", "ide-hd,bus=ide.0,drive=disk,bootindex=1"),
}
# A boot that shows one of these on the console never comes to a login.
_DEAD_ENDS = re.compile(
    rb"Kernel panic - not syncing|You are in emergency mode|Entering emergency mode|grub rescue>|"
    rb"\r?\n\(initramfs\) |No bootable device|BdsDxe: No bootable option|EFI Internal Shell"
)
_ANSI = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-Za-z]|\x1b[=>78M]|\r")


class BootError(Exception):
    """The guest did not do what was awaited; the message ends with the last lines of its console."""


@dataclass(frozen=True, slots=True)
class Result:
    """One command's exit status and what it wrote to stdout and stderr together."""

    status: int
    output: str


class Boot:
    """A running guest; leaving the `with` block ends QEMU and removes the overlay."""

    def __init__(
        self,
        image: Path | str,
        firmware: Firmware = "bios",
        *,
        controller: Controller = "virtio-scsi",
        raw: bool = False,
        memory: int = 1536,
        cpus: int = 1,
        extra: Sequence[str] = (),
        echo: IO[bytes] | None = None,
    ) -> None:
        """`raw`: a disk without a footer; `memory` in MiB; `extra`: more arguments of QEMU; `echo` gets the console."""
        self.image = Path(image).absolute()
        self.firmware = firmware
        self.controller = controller
        self.raw = raw
        self.transcript = bytearray()
        self._shell = False
        self._memory = memory
        self._cpus = cpus
        self._extra = tuple(extra)
        self._echo = echo
        self._cursor = 0
        self._marks = itertools.count(1)
        self._stack = contextlib.ExitStack()
        self._folder = Path()
        self._qemu: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Boot:
        with contextlib.ExitStack() as stack:
            self._folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="boot.", dir="/var/tmp"))
            )
            self._make_overlay()
            self._qemu = self._start()
            stack.callback(self._kill)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # Starting

    @property
    def overlay(self) -> Path:
        """The guest's disk as it stands, a qcow2; there until the `with` block is left."""
        return self._folder / "overlay.qcow2"

    def _make_overlay(self) -> None:
        size = self.image.stat().st_size - (0 if self.raw else VHD_FOOTER)
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(self.image)]
        subprocess.run([*argv, str(self.overlay), str(size)], check=True)

    def command_line(self) -> list[str]:
        """QEMU's arguments. The IDE controller is the old machine's: Debian's cloud kernel has ata_piix and no AHCI."""
        machine = "q35" if self.firmware == "uefi" and self.controller != "ide" else "pc"
        # Without KVM the guest's clock counts instructions, 4 ns each: on a busy host its timeouts (90 s for a device,
        # 60 s for a login) still measure its own work. As fast as a thread for each of two processors, on one core.
        accel = ["kvm"] if kvm_works() else ["tcg,thread=single", "-icount", "shift=2,sleep=on"]
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", machine, "-accel", *accel]
        argv += ["-cpu", "max", "-smp", str(self._cpus), "-m", str(self._memory)]
        argv += [] if kvm_works() else _ORDERLY
        argv += ["-display", "none", "-vga", "std", "-device", "virtio-rng-pci"]
        # A network with a DHCP server and nothing behind it, as the first card of a VM on Azure.
        argv += ["-nic", "user,model=virtio-net-pci,restrict=on"]
        argv += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        argv += ["-qmp", f"unix:{self._folder / 'qmp'},server=on,wait=off"]
        argv += ["-drive", f"if=none,id=disk,file={self.overlay},format=qcow2,cache=unsafe,discard=unmap"]
        return [*argv, *_DRIVES[self.controller], *self._firmware_arguments(), *self._extra]

    def _firmware_arguments(self) -> list[str]:
        if self.firmware == "bios":
            return []
        code, variables = next((pair for pair in _OVMF if Path(pair[0]).exists()), ("", ""))
        if not code:
            raise BootError(f"no OVMF on this host (Debian: apt install ovmf); looked for {_OVMF[0][0]}")
        # A fresh copy each time: an Azure machine has no boot entries in NVRAM either.
        shutil.copyfile(variables, self._folder / "vars.fd")
        return [
            *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
            *("-drive", f"if=pflash,unit=1,format=raw,file={self._folder / 'vars.fd'}"),
        ]

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "qemu.log").open("wb") as log:
            return subprocess.Popen(
                self.command_line(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                preexec_fn=_die_with_parent,
            )

    def _kill(self) -> None:
        qemu = self._qemu
        if qemu is None:
            return
        if qemu.poll() is None:
            qemu.kill()
        qemu.wait()
        for pipe in (qemu.stdin, qemu.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    # The console

    def send(self, text: str) -> None:
        """Type a line on the console."""
        assert self._qemu is not None
        assert self._qemu.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._qemu.stdin.write(text.encode() + b"\n")

    def _pump(self, seconds: float) -> bool:
        """Read what the console has, waiting at most `seconds`; False when QEMU has ended."""
        assert self._qemu is not None
        assert self._qemu.stdout is not None
        ready, _, _ = select.select([self._qemu.stdout], [], [], max(0.0, seconds))
        if not ready:
            return True
        data = os.read(self._qemu.stdout.fileno(), 65536)
        if self._echo is not None:
            self._echo.write(data)
            self._echo.flush()
        self.transcript += data
        return bool(data)

    def text(self) -> str:
        """The console so far, without escape sequences."""
        return _ANSI.sub(b"", bytes(self.transcript)).decode(errors="replace")

    def _failure(self, what: str) -> BootError:
        lines = self.text().splitlines()[-40:]
        log = (self._folder / "qemu.log").read_text(errors="replace").strip()
        tail = "\n".join(f"  | {line}" for line in lines)
        said = f"\nQEMU said: {log}" if log else ""
        return BootError(f"{self.image.name}, {self.firmware}, {self.controller}: {what}{said}\n{tail}")

    def wait_for(self, pattern: bytes, timeout: float = BOOT_TIMEOUT) -> re.Match[bytes]:
        """Await a regular expression behind the last match; a panic or an emergency shell fails at once."""
        found = self._await(re.compile(pattern), timeout)
        if found is None:
            raise self._failure(f"no {pattern!r} within {timeout:.0f} s")
        return found

    def _await(self, pattern: re.Pattern[bytes], timeout: float) -> re.Match[bytes] | None:
        deadline = time.monotonic() + timeout
        while True:
            fresh = bytes(self.transcript[self._cursor :])
            if match := pattern.search(fresh):
                self._cursor += match.end()
                return match
            if dead := _DEAD_ENDS.search(fresh):
                self._pump(3)
                raise self._failure(
                    f"{dead.group().strip().decode()!r} while waiting for {pattern.pattern!r}"
                )
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if not self._pump(min(left, 5.0)):
                raise self._failure(f"QEMU ended while waiting for {pattern.pattern!r}")

    # A session

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
        raise self._failure(f"could not log in as {user}")

    def _shell_answers(self) -> bool:
        mark = f"{next(self._marks)}"
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
        mark = f"{os.getpid()}-{next(self._marks)}"
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
        raise self._failure(f"the output of {command!r} came garbled five times")

    def _fetch(self, path: str) -> bytes | None:
        mark = f"{next(self._marks)}"
        self.send(
            f" printf '\\n@@%s@@\\n' begin-{mark}; base64 {path};"
            f" printf '@@%s %s@@\\n' end-{mark} \"$(sha256sum <{path} | cut -c1-64)\""
        )
        pattern = rb"@@begin-%s@@(.*?)@@end-%s ([0-9a-f]{64})@@" % (mark.encode(), mark.encode())
        found = self._await(re.compile(pattern, re.DOTALL), RUN_TIMEOUT)
        if found is None:
            return None
        body = _ANSI.sub(b"", found.group(1))
        # Whole lines that are no base64 are others' messages.
        lines = [line for line in body.split() if re.fullmatch(rb"[A-Za-z0-9+/]+={0,2}", line)]
        return _checked(b"".join(lines), found.group(2).decode())

    def check(self, command: str, timeout: float = RUN_TIMEOUT) -> str:
        """As `run`, and any other exit status than 0 is an error."""
        result = self.run(command, timeout)
        if result.status:
            raise self._failure(f"exit {result.status}: {command}\n{result.output}")
        return result.output

    def poweroff(self, timeout: float = RUN_TIMEOUT) -> None:
        """Shut down cleanly and await the end of QEMU; a guest nobody logged in to gets the power button."""
        assert self._qemu is not None
        if self._shell:
            self.send(" sudo -n systemctl poweroff || systemctl poweroff")
        else:
            self.qmp("system_powerdown")
        deadline = time.monotonic() + timeout
        while self._pump(5):
            if time.monotonic() > deadline:
                raise self._failure(f"still running {timeout:.0f} s after power-off")
        self._qemu.wait(30)

    def screendump(self, path: Path) -> None:
        """The screen as PNG: for guests without a serial console."""
        self.qmp("screendump", filename=str(path.absolute()), format="png")

    def qmp(self, command: str, **arguments: str) -> None:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(60)
            channel.connect(str(self._folder / "qmp"))
            stream = channel.makefile("rw")
            stream.readline()  # the greeting
            for name, given in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                stream.flush()
                while True:
                    answer = json.loads(stream.readline())
                    if "error" in answer:
                        raise self._failure(f"QMP {name}: {answer['error']['desc']}")
                    if "return" in answer:
                        break


def _die_with_parent() -> None:
    """A test run that is killed leaves no guest behind: PR_SET_PDEATHSIG, prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _checked(encoded: bytes, digest: str) -> bytes | None:
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.boot",
        usage="%(prog)s IMAGE [OPTION ...] [-- COMMAND ...]",
        description="Boot a disk, log in, run the commands, power off.",
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("--firmware", choices=get_args(Firmware), default="bios")
    parser.add_argument("--controller", choices=get_args(Controller), default="virtio-scsi")
    parser.add_argument("--raw", action="store_true", help="the file is a raw disk: it has no VHD footer")
    parser.add_argument("--memory", type=int, default=1536, help="MiB")
    parser.add_argument("--user", default="tester")
    parser.add_argument("--password", default="tester")
    parser.add_argument("--timeout", type=float, default=BOOT_TIMEOUT, help="seconds to wait for login:")
    parser.add_argument(
        "--screenshot", type=Path, help="no login: wait --timeout seconds and save the screen (PNG)"
    )
    parser.add_argument("--quiet", action="store_true", help="do not show the console")
    words = sys.argv[1:]
    # What follows `--` are the guest's commands; argparse would not take them apart from the image.
    split = words.index("--") if "--" in words else len(words)
    commands = words[split + 1 :]
    given = parser.parse_args(words[:split])
    echo = None if given.quiet else sys.stderr.buffer
    worst = 0
    with Boot(
        given.image,
        given.firmware,
        controller=given.controller,
        raw=given.raw,
        memory=given.memory,
        echo=echo,
    ) as vm:
        if given.screenshot:
            deadline = time.monotonic() + given.timeout
            while time.monotonic() < deadline and vm._pump(deadline - time.monotonic()):
                pass
            vm.screendump(given.screenshot)
            return 0
        vm.login(given.user, given.password, given.timeout)
        for command in commands:
            result = vm.run(command)
            print(f"$ {command}\n{result.output.rstrip()}\n[exit {result.status}]", flush=True)
            worst = max(worst, result.status)
        vm.poweroff()
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
