"""The machine: QEMU with Azure's SMBIOS identity on a throw-away overlay of the disk.

No VMBus: QEMU has none, so the disk hangs on a controller that QEMU emulates, under the names that Hyper-V gives.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgfix.accel import Accelerator, qemu_binary
from imgfix.errors import HostError
from imgfix.rehearsal.identity import ASSET_TAG, Identity

Controller = Literal["virtio-scsi", "ide", "virtio-blk", "nvme"]
#: The order in which they are tried: a driver may be missing from an initramfs that is for its own machine only.
CONTROLLERS: tuple[Controller, ...] = ("virtio-scsi", "ide", "virtio-blk", "nvme")

MEMORY_MIB = 1536

_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
)
#: Hyper-V's names for its disks, so that rules that look at them match.
_NAMES = "vendor=Msft,product=Virtual Disk"
_DISKS: dict[Controller, str] = {
    "virtio-scsi": f"scsi-hd,bus=scsi0.0,scsi-id=0,drive=disk,{_NAMES},bootindex=1",
    "ide": "ide-hd,bus=ide.0,drive=disk,bootindex=1",
    "virtio-blk": "virtio-blk-pci,drive=disk,bootindex=1",
    "nvme": "nvme,serial=rehearsal,drive=disk,bootindex=1",
}
#: QEMU's monitor, by a name in its folder: a socket's whole path may have 107 bytes (unix(7)), and TMPDIR may be long.
_QMP = "qmp"
#: VGA's text memory (https://wiki.osdev.org/Printing_To_Screen), and what of it is shown.
_TEXT_AT, _COLUMNS, _LINES = 0xB8000, 80, 25
_SCSI_SLOT = "0x10"
#: By where it is: its kernel name differs with the controllers.
RESOURCE_DISK = f"pci-0000:00:{_SCSI_SLOT[2:]}.0-scsi-0:0:1:0"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one boot runs on. `folder` takes the sockets, the console and the firmware's variables."""

    folder: Path
    overlay: Path
    dvd: Path | None
    resource_disk: Path | None
    generation: Literal[1, 2]
    controller: Controller
    accelerator: Accelerator
    credentials: tuple[str, ...] = ()

    @property
    def console(self) -> Path:
        """The file that takes the serial port's output."""
        return self.folder / "console.log"

    @property
    def firmware_log(self) -> Path:
        """The file that takes the firmware's own log."""
        return self.folder / "firmware.log"


def firmware_files() -> tuple[Path, Path]:
    """Return OVMF's code and variables on this host; raises HostError."""
    for code, variables in _OVMF:
        if Path(code).exists() and Path(variables).exists():
            return Path(code), Path(variables)
    raise HostError(
        f"no OVMF on this host ({_OVMF[0][0]} and other places): it boots Generation 2 VMs",
        hint="apt install ovmf, or dnf install edk2-ovmf; or rehearse Generation 1: --generation 1",
    )


def command_line(hardware: Hardware, identity: Identity, network: Sequence[str]) -> list[str]:
    """Return QEMU's command line. Raises HostError for a host without QEMU or OVMF."""
    emulated = hardware.accelerator is Accelerator.TCG
    # Without KVM the guest's clock counts instructions, 4 ns each: on a busy host its time-outs still measure its own
    # work. systemd-detect-virt then has to go by SMBIOS, and says microsoft: Debian's agent starts nowhere else.
    accel = ["tcg,thread=single", "-icount", "shift=2,sleep=on"] if emulated else ["kvm"]
    machine = "pc" if hardware.generation == 1 or hardware.controller == "ide" else "q35"
    argv = [qemu_binary(), "-nodefaults", "-no-user-config", "-machine", machine, "-accel", *accel]
    argv += [
        "-cpu",
        "max,-hypervisor" if emulated else "host,-hypervisor",
        "-smp",
        "1",
        "-m",
        str(MEMORY_MIB),
    ]
    argv += ["-display", "none", "-vga", "std", "-device", "virtio-rng-pci", "-no-reboot"]
    argv += ["-boot", "menu=off,strict=on"]
    argv += ["-chardev", f"file,id=console,path={hardware.console},append=on", "-serial", "chardev:console"]
    # SeaBIOS, and a debug build of OVMF, write their log to this port.
    argv += ["-chardev", f"file,id=firmware,path={hardware.firmware_log},append=on"]
    argv += ["-device", "isa-debugcon,iobase=0x402,chardev=firmware"]
    argv += ["-qmp", f"unix:{_QMP},server=on,wait=off"]
    return [*argv, *_smbios(hardware, identity), *_drives(hardware), *_firmware(hardware), *network]


def _smbios(hardware: Hardware, identity: Identity) -> list[str]:
    maker = "manufacturer=Microsoft Corporation"
    argv = [
        *("-smbios", "type=0,vendor=Microsoft Corporation,version=Hyper-V UEFI Release v4.1,date=08/23/2024"),
        *(
            "-smbios",
            f"type=1,{maker},product=Virtual Machine,version=Hyper-V UEFI Release v4.1,uuid={identity.vm_id}",
        ),
        *("-smbios", f"type=2,{maker},product=Virtual Machine,version=Hyper-V UEFI Release v4.1"),
        *("-smbios", f"type=3,{maker},version=Hyper-V UEFI Release v4.1,asset={ASSET_TAG}"),
    ]
    for credential in hardware.credentials:
        argv += ["-smbios", f"type=11,value={credential}"]
    return argv


def _drives(hardware: Hardware) -> list[str]:
    argv = ["-device", f"virtio-scsi-pci,id=scsi0,addr={_SCSI_SLOT}"]
    argv += ["-drive", f"if=none,id=disk,file={hardware.overlay},format=qcow2,cache=unsafe,discard=unmap"]
    argv += ["-device", _DISKS[hardware.controller]]
    if hardware.resource_disk is not None:
        argv += [
            "-drive",
            f"if=none,id=resource,file={hardware.resource_disk},format=raw,cache=unsafe,discard=unmap",
        ]
        argv += ["-device", f"scsi-hd,bus=scsi0.0,scsi-id=1,drive=resource,{_NAMES}"]
    if hardware.dvd is not None:
        argv += ["-drive", f"if=none,id=dvd,file={hardware.dvd},format=raw,readonly=on,media=cdrom"]
        # Debian's cloud kernel has ata_piix and no AHCI: IDE where the machine has it.
        is_ide = hardware.generation == 1 or hardware.controller == "ide"
        argv += [
            "-device",
            "ide-cd,bus=ide.1,drive=dvd" if is_ide else "scsi-cd,bus=scsi0.0,scsi-id=2,drive=dvd",
        ]
    return argv


def _firmware(hardware: Hardware) -> list[str]:
    if hardware.generation == 1:
        return []
    code, variables = firmware_files()
    mine = hardware.folder / "vars.fd"
    if not mine.exists():
        # A fresh copy for the first boot: a new VM has no boot entries either.
        shutil.copyfile(variables, mine)
    return [
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={mine}"),
    ]


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_PATH)
    try:
        yield fd
    finally:
        os.close(fd)


def text_of(memory: bytes) -> str:
    """Return what VGA's text memory shows: a character and its colour in turn. Empty where it is no text."""
    characters = memory[::2]
    if len(characters) < _COLUMNS or any(0 < byte < 32 or byte == 0xFF for byte in characters):
        return ""
    text = characters.replace(b"\0", b" ").decode("cp437")
    lines = [text[at : at + _COLUMNS].rstrip() for at in range(0, len(text), _COLUMNS)]
    return "\n".join(line for line in lines if line)


class Machine:
    """A running QEMU; leaving the `with` block ends it."""

    def __init__(self, argv: Sequence[str], folder: Path) -> None:
        self._folder = folder
        self._log = folder / "qemu.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
            )

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def runs(self) -> bool:
        """Tell whether QEMU still runs: it ends when the guest powers off, and when it reboots."""
        return self._process.poll() is None

    @property
    def complaint(self) -> str:
        """What QEMU wrote, and its exit status if that is a failure."""
        text = self._log.read_text(errors="replace").strip()
        status = self._process.poll()
        return f"QEMU ended with status {status}: {text}" if status else text

    def power_button(self) -> None:
        """Press it: a guest with an init shuts down."""
        self._command('{"execute": "system_powerdown"}')

    def press(self, key: Literal["ret", "esc"]) -> None:
        """Press Enter or Esc on the keyboard."""
        keys = [{"type": "qcode", "data": key}]
        self._command(json.dumps({"execute": "send-key", "arguments": {"keys": keys}}))

    def screen(self) -> str:
        """Return the text on the screen, or nothing where it shows graphics: what a boot loader without a serial port
        says stands only there.
        """
        path = self._folder / "screen"
        where = f'"val": {_TEXT_AT}, "size": {2 * _COLUMNS * _LINES}, "filename": {json.dumps(str(path))}'
        self._command(f'{{"execute": "pmemsave", "arguments": {{{where}}}}}')
        return text_of(path.read_bytes()) if path.exists() else ""

    def _command(self, command: str) -> None:
        """Send one command by QMP; a QEMU that has ended needs none."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as link:
            link.settimeout(60)
            with _opened(self._folder) as fd:
                link.connect(f"/proc/self/fd/{fd}/{_QMP}")
            with link.makefile("rwb") as stream:
                stream.readline()  # the greeting
                for line in ('{"execute": "qmp_capabilities"}', command):
                    stream.write(line.encode() + b"\n")
                    stream.flush()
                    while "return" not in json.loads(stream.readline() or b'{"return": 0}'):
                        pass
