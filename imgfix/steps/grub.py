"""GRUB's generated configuration, made again by the guest's own generator where it is out of date (R15)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Finish, Noop, Rebuild, RebuildKind
from imgfix.errors import GuestError
from imgfix.facts.bootloader import Bootloader, GrubConfig, read_bootloader
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps import command_line, grub_terminal
from imgfix.steps.edit import edited, parsing
from imgfix.steps.kernel_args import unwanted
from imgfix.textedit import grubcfg
from imgfix.tree import Tree

#: EL 8: what BLS entries get where grubenv has no kernelopts (10_linux of Red Hat's grub2).
_KERNELOPTS = re.compile(r'^[ \t]*set kernelopts="([^"]*)"', re.MULTILINE)

#: os-prober would add the systems of other disks, and leaves device-mapper maps behind (RHBZ#2003503).
_ENVIRONMENT = ("env", "GRUB_DISABLE_OS_PROBER=true")

#: Red Hat's grub2-mkconfig until EL 9.1, and Fedora's, write GRUB's defaults over BLS entries and grubenv, which
#: imgfix has edited each by itself; this option keeps them from it. EL >= 9.2 does so only when it is asked to
#: with the other one. https://github.com/rhboot/grub2/pull/126
_LEAVES_BLS = "--no-grubenv-update"
_ASKS_FIRST = "--update-bls-cmdline"

#: EL >= 9 and Fedora >= 34 refuse to write a menu where the stub on the ESP should be.
_WANTS_STUB = "will overwrite the GRUB wrapper"

#: grub-mkconfig marks which script each part comes from (util/grub-mkconfig.in).
_SECTION = re.compile(r"^### BEGIN /etc/grub\.d/(\S+) ###", re.MULTILINE)


class Grub:
    """Regenerates grub.cfg if one of its entries for an installed kernel has not the wanted command line."""

    name = "grub"
    requirements = ("R15",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield a rebuild or a Noop for each grub.cfg."""
        want = command_line.wanted(profile, facts, unwanted(profile, facts))
        loader = read_bootloader(tree, facts.storage)
        for config in loader.grub2:
            if config.leads_to is not None:
                yield Noop(f"{config.path}: only leads to {config.leads_to}")
                continue
            problems = _problems(tree, config.path, loader, facts, want) or _menu_problems(
                profile, tree, config.path
            )
            yield _rebuild(tree, loader, config, problems) if problems else _uefi_only(tree, config)
        for path in loader.legacy:
            yield Noop(f"{path}: GRUB legacy reads it as it stands")
        if not loader.grub2 and not loader.legacy:
            yield Noop("no grub.cfg of GRUB 2")


def _menu_problems(profile: Profile, tree: Tree, path: str) -> str:
    problems = grub_terminal.problems(profile, tree, files.read_text(tree, path))
    return f"{path}: {problems}" if problems else ""


def _problems(tree: Tree, path: str, loader: Bootloader, facts: Facts, want: command_line.Wanted) -> str:
    """Return what is wrong with the first entry that is out of date, or "".

    Entries of anything but the installed kernels (memtest, other systems) are none of our business, entries
    that come from BLS files are edited there, and the admin's own (40_custom) stay as they were written.
    """
    text = files.read_text(tree, path)
    fallback = _KERNELOPTS.search(text)
    if fallback and command_line.lacks_kernelopts(tree, loader) and (problems := want.problems(fallback[1])):
        return f"{path}: its kernelopts: {', '.join(problems)}"
    kernels = {kernel.image.rpartition("/")[2] for kernel in facts.kernels}
    with parsing(path):
        for line in grubcfg.linux_lines(text):
            ours = line.kernel.rpartition("/")[2] in kernels and _is_generated(text, line.line)
            if ours and (problems := want.problems(line.args)):
                return f"{path}:{line.line}: {', '.join(problems)}"
    return ""


def _is_generated(text: str, line: int) -> bool:
    """Tell whether the line comes from GRUB's defaults: from 10_linux and its kin, or nothing says whence."""
    above = _SECTION.findall("\n".join(text.split("\n")[:line]))
    return not above or "linux" in above[-1]


def _uefi_only(tree: Tree, config: GrubConfig) -> Decision:
    """Decide on a menu with the right command lines: on the ESP it must not have the commands of BIOS."""
    settled = "every entry has the wanted kernel command line"
    if not config.on_esp:
        return Noop(f"{config.path}: {settled}")
    return edited(
        tree, config.path, grubcfg.for_uefi, reason="linux16 does not boot under UEFI", settled=settled
    )


def _rebuild(tree: Tree, loader: Bootloader, config: GrubConfig, problems: str) -> Decision:
    finish = Finish.FOR_UEFI if config.on_esp else None
    command = _command(tree, loader.generator, config)
    return Rebuild(RebuildKind.GRUB_CONFIG, config.path, (command,), problems, finish)


def _command(tree: Tree, generator: str | None, config: GrubConfig) -> tuple[str, ...]:
    if generator is None:
        raise GuestError(
            f"{config.path} must be made again for the new kernel command line, and the guest has no grub-mkconfig",
            hint="install the guest's grub2-tools or grub2-common",
        )
    script = files.read_text(tree, generator)
    if config.on_esp and _WANTS_STUB in script:
        raise GuestError(
            f"{config.path} is a whole menu, and this guest's {generator} wants a stub there",
            hint="in the guest, remove it and reinstall grub2-common, grub2-efi and shim; they put the stub in place",
        )
    leave = (_LEAVES_BLS,) if _LEAVES_BLS in script and _ASKS_FIRST not in script else ()
    return (*_ENVIRONMENT, generator, *leave, "-o", config.path)
