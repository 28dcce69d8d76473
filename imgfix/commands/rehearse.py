"""imgfix rehearse, as the command line has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgfix.commands.paths import FILE

if TYPE_CHECKING:
    from imgfix.rehearsal.rehearse import Request


@click.command(short_help="Boot a VHD on a simulated Azure on this machine.")
@click.argument("disk", metavar="VHD", type=FILE)
@click.option(
    "--generation",
    type=click.Choice(["auto", "1", "2"]),
    default="auto",
    help="1: BIOS, 2: UEFI; auto: BIOS where the disk has boot code.",
)
@click.option(
    "--agent",
    type=click.Choice(["auto", "cloud-init", "waagent", "disabled"]),
    default="auto",
    help="Who must report Ready; disabled: a specialized image, which nobody provisions.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=600.0, help="Seconds until SSH; default 600."
)
@click.option("--twice", is_flag=True, help="Boot a second time from what the first boot left.")
@click.option(
    "--kernel-update", is_flag=True, help="Have the guest make its initramfs anew, and look for the drivers."
)
@click.option(
    "--controller",
    type=click.Choice(["virtio-scsi", "ide", "virtio-blk", "nvme"]),
    help="The disk's controller; default: all in turn until the root is found.",
)
@click.option("--user", help="With --agent disabled: who logs in.")
@click.option("--key", type=FILE, help="With --user: the private key to log in with.")
@click.option(
    "--report",
    "report_files",
    multiple=True,
    metavar="FILE",
    type=FILE,
    help="Write the outcome to FILE.json or FILE.html; may be repeated.",
)
def rehearse(
    disk: Path,
    generation: str,
    agent: str,
    timeout: float,
    twice: bool,
    kernel_update: bool,
    controller: str | None,
    user: str | None,
    key: Path | None,
    report_files: tuple[Path, ...],
) -> None:
    """Boot VHD on a simulated Azure, without changing it: does its agent report Ready, can one log in?

    Exit 0: it does; 6: it does not, and the stage and the likely cause are told.
    """
    from typing import cast

    from rich.console import Console

    from imgfix.console import terminal_progress
    from imgfix.interrupt import Interrupts
    from imgfix.rehearsal import gate, show
    from imgfix.rehearsal import rehearse as rehearsal
    from imgfix.rehearsal import report as reports
    from imgfix.rehearsal.machine import Controller
    from imgfix.rehearsal.spec import Agent

    request: Request = rehearsal.Request(
        disk=disk,
        generation=cast(rehearsal.Generation, generation),
        agent=cast(Agent, agent) if agent in ("cloud-init", "waagent") else None,
        provisioned=agent != "disabled",
        timeout=timeout,
        twice=twice,
        kernel_update=kernel_update,
        controller=cast(Controller | None, controller),
        user=user,
        key=key,
    )
    rehearsal.check(request)
    for path in report_files:
        reports.require_writable(path)
    interrupts = Interrupts()
    with interrupts.installed(), terminal_progress() as progress:
        result = rehearsal.rehearse(request, progress, interrupts)
    show.show(Console(), result)
    for path in report_files:
        reports.write(path, result)
    gate.require_passed(result)
