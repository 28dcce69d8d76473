"""The table of symptoms: what a guest that does not get further prints, what that means and what helps. Data.

Order matters: the first row that counts is the verdict, so the special stands before the general. To extend: add a row,
and an excerpt of a real log that shows it to `tests/rehearsal/logs/`.
"""

from __future__ import annotations

from imgfix.rehearsal import symptoms_early as early
from imgfix.rehearsal import symptoms_late as late
from imgfix.rehearsal.events import Stage
from imgfix.rehearsal.symptom import NOTHING, Symptom, Where, row

#: Last: what is true of many boots that failed, and is told only where nothing better is known.
GENERAL = (
    row(
        "silent kernel", (Stage.BOOT_LOADER, Stage.BOOT_LOADER), Where.CONSOLE, r"\bLinux version ",
        "the boot loader runs, and the kernel writes nothing to the serial port",
        "have console=ttyS0 on the kernel command line", "kernel_args.add: [console=ttyS0, earlyprintk=ttyS0]",
        stage=Stage.KERNEL, absent=True,
    ),
    row(
        # What the kernel says to everybody when the power button is pressed is no sign of a console.
        "no serial output", (NOTHING, Stage.FIRMWARE), Where.CONSOLE, r"^(?!\[ *\d+\.\d+\] reboot: ).*\S",
        "nothing is written to the serial port: neither the boot loader nor the kernel uses it",
        "have console=ttyS0 on the kernel command line and the boot loader's menu there; Azure shows nothing else",
        "kernel_args.add: [console=ttyS0], services.serial_console: ttyS0", stage=Stage.BOOT_LOADER, absent=True,
    ),
)  # fmt: skip

SYMPTOMS: tuple[Symptom, ...] = (
    *early.FIRMWARE, *early.BOOT_LOADER, *early.KERNEL, *early.ROOT,
    *late.INIT, *late.NETWORK, *late.DATASOURCE, *late.SSH, *GENERAL,
)  # fmt: skip
