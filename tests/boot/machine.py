"""QEMU on a throw-away overlay of an image: its command line, its console, its monitor."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Literal

from tests.disks.host import kvm_works

if TYPE_CHECKING:
    from typing_extensions import Self

Firmware = Literal["bios", "uefi"]
Controller = Literal["virtio-scsi", "virtio-blk", "ide", "pvscsi"]

VHD_FOOTER = 512

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
ANSI = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-Za-z]|\x1b[=>78M]|\r")


class BootError(Exception):
    """The guest did not do what was awaited; the message ends with the last lines of its console."""


class Machine:
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
        self._memory = memory
        self._cpus = cpus
        self._extra = tuple(extra)
        self._echo = echo
        self._stack = contextlib.ExitStack()
        self.folder = Path()
        self._qemu: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.folder = Path(
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

    @property
    def overlay(self) -> Path:
        """The guest's disk as it stands, a qcow2; there until the `with` block is left."""
        return self.folder / "overlay.qcow2"

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
        argv += ["-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"]
        argv += ["-drive", f"if=none,id=disk,file={self.overlay},format=qcow2,cache=unsafe,discard=unmap"]
        return [*argv, *_DRIVES[self.controller], *self._firmware_arguments(), *self._extra]

    def _firmware_arguments(self) -> list[str]:
        if self.firmware == "bios":
            return []
        code, variables = next((pair for pair in _OVMF if Path(pair[0]).exists()), ("", ""))
        if not code:
            raise BootError(f"no OVMF on this host (Debian: apt install ovmf); looked for {_OVMF[0][0]}")
        # A fresh copy each time: an Azure machine has no boot entries in NVRAM either.
        shutil.copyfile(variables, self.folder / "vars.fd")
        return [
            *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
            *("-drive", f"if=pflash,unit=1,format=raw,file={self.folder / 'vars.fd'}"),
        ]

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "qemu.log").open("wb") as log:
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

    def send(self, text: str) -> None:
        """Type a line on the console."""
        assert self._qemu is not None
        assert self._qemu.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._qemu.stdin.write(text.encode() + b"\n")

    def pump(self, seconds: float) -> bool:
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
        return ANSI.sub(b"", bytes(self.transcript)).decode(errors="replace")

    def failure(self, what: str) -> BootError:
        """Return the error that says what did not happen, with the end of the console."""
        lines = self.text().splitlines()[-40:]
        log = (self.folder / "qemu.log").read_text(errors="replace").strip()
        tail = "\n".join(f"  | {line}" for line in lines)
        said = f"\nQEMU said: {log}" if log else ""
        return BootError(f"{self.image.name}, {self.firmware}, {self.controller}: {what}{said}\n{tail}")

    def screendump(self, path: Path) -> None:
        """The screen as PNG: for guests without a serial console."""
        self.qmp("screendump", filename=str(path.absolute()), format="png")

    def press(self, key: Literal["ret", "esc"]) -> None:
        """Press Enter or Esc on the keyboard."""
        self.qmp("send-key", keys=[{"type": "qcode", "data": key}])

    def qmp(self, command: str, **arguments: object) -> None:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(60)
            channel.connect(str(self.folder / "qmp"))
            stream = channel.makefile("rw")
            stream.readline()  # the greeting
            for name, given in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                stream.flush()
                while True:
                    answer = json.loads(stream.readline())
                    if "error" in answer:
                        raise self.failure(f"QMP {name}: {answer['error']['desc']}")
                    if "return" in answer:
                        break


def _die_with_parent() -> None:
    """A test run that is killed leaves no guest behind: PR_SET_PDEATHSIG, prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
