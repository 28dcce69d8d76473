"""GRUB's generated configuration, made again by the guest's own generator where it is out of date (R15)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Noop, Rebuild, RebuildKind
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps import command_line
from imgfix.steps.edit import parsing
from imgfix.steps.kernel_args import unwanted
from imgfix.textedit import grubcfg
from imgfix.tree import Tree

_CONFIGS = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg")
_GENERATORS = ("/usr/sbin/grub2-mkconfig", "/usr/sbin/grub-mkconfig", "/usr/bin/grub-mkconfig")

#: EL 8: what BLS entries get where grubenv has no kernelopts (10_linux of Red Hat's grub2).
_KERNELOPTS = re.compile(r'^[ \t]*set kernelopts="([^"]*)"', re.MULTILINE)

#: os-prober would add the systems of other disks, and leaves device-mapper maps behind (RHBZ#2003503).
_ENVIRONMENT = ("env", "GRUB_DISABLE_OS_PROBER=true")

#: grub-mkconfig marks which script each part comes from (util/grub-mkconfig.in).
_SECTION = re.compile(r"^### BEGIN /etc/grub\.d/(\S+) ###", re.MULTILINE)


class Grub:
    """Regenerates grub.cfg if one of its entries for an installed kernel has not the wanted command line."""

    name = "grub"
    requirements = ("R15",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield a rebuild or a Noop for each grub.cfg."""
        want = command_line.wanted(profile, facts, unwanted(profile, facts))
        found = [path for path in _CONFIGS if files.is_file(tree, path)]
        for path in dict.fromkeys(files.resolve(tree, p) for p in found):
            problems = _problems(tree, path, facts, want)
            if problems:
                yield Rebuild(RebuildKind.GRUB_CONFIG, path, (_command(tree, path),), problems)
            else:
                yield Noop(f"{path}: every entry has the wanted kernel command line")
        if not found:
            yield Noop("no grub.cfg of GRUB 2")


def _problems(tree: Tree, path: str, facts: Facts, want: command_line.Wanted) -> str:
    """Return what is wrong with the first entry that is out of date, or "".

    Entries of anything but the installed kernels (memtest, other systems) are none of our business, entries
    that come from BLS files are edited there, and the admin's own (40_custom) stay as they were written.
    """
    text = files.read_text(tree, path)
    fallback = _KERNELOPTS.search(text)
    if fallback and command_line.lacks_kernelopts(tree) and (problems := want.problems(fallback[1])):
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


def _command(tree: Tree, path: str) -> tuple[str, ...]:
    generator = next((g for g in _GENERATORS if files.is_file(tree, g)), None)
    if generator is None:
        raise GuestError(
            f"{path} must be made again for the new kernel command line, and the guest has no grub-mkconfig",
            hint="install the guest's grub2-tools or grub2-common",
        )
    return (*_ENVIRONMENT, generator, "-o", path)
