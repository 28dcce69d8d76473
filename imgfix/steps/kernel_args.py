"""The kernel command line, in every place where it can live (R6, R14)."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix.change import Advice, Decision
from imgfix.errors import GuestError
from imgfix.facts.bootloader import Bootloader, read_bootloader
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps import cloud_init, command_line, swap
from imgfix.steps.network import step as network
from imgfix.tree import Tree


def unwanted(profile: Profile, facts: Facts) -> tuple[str, ...]:
    """Return the arguments that other steps want gone: of removed swap, old NICs, and what disables cloud-init."""
    return (
        *swap.unwanted_args(profile, facts),
        *cloud_init.unwanted_args(profile),
        *network.unwanted_args(profile),
    )


class KernelArgs:
    """Edits the sources of the command line; `grub` regenerates what is made from them."""

    name = "kernel_args"
    requirements = ("R6", "R14")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield an edit or a Noop for each file that holds a command line; raises GuestError if none can be edited."""
        loader = read_bootloader(tree, facts.storage)
        _refuse(loader)
        want = command_line.wanted(profile, facts, unwanted(profile, facts))
        found = list(command_line.edits(tree, want, loader, facts.kernels))
        yield from found
        for path in loader.unified:
            yield Advice(
                f"{path}: a unified kernel image, whose command line imgfix cannot edit; let the VM boot another entry"
            )
        if not found:
            yield Advice("no file with a kernel command line was found; how does this guest boot?")


def _refuse(loader: Bootloader) -> None:
    if loader.is_editable:
        return
    if loader.unified:
        raise GuestError(
            f"{loader.unified[0]}: a unified kernel image, with its kernel command line inside a signed program; "
            "imgfix cannot edit it, and there is no other boot entry",
            hint="in the guest, write the arguments to /etc/kernel/cmdline and make the image again "
            "(kernel-install add), or install a boot loader with entries of its own (GRUB, or systemd-boot with "
            "`layout=bls` in /etc/kernel/install.conf)",
        )
    if loader.others:
        name, path = loader.others[0]
        raise GuestError(
            f"{path}: this guest boots with {name}, which imgfix does not know, needed for the kernel command line",
            hint="install GRUB 2 in the guest, boot it once, and export it again",
        )
