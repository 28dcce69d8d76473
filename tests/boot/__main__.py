"""Boot a disk by hand: see tests/boot/__init__.py."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import get_args

from tests.boot.machine import Controller, Firmware
from tests.boot.session import BOOT_TIMEOUT, Boot


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
            while time.monotonic() < deadline and vm.pump(deadline - time.monotonic()):
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
