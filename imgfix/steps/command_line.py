"""What the kernel command line shall be, and every place in a guest where it lives."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imgfix import tree as files
from imgfix.change import Decision, Noop, WriteFile
from imgfix.facts import devices
from imgfix.facts.model import Facts, Storage
from imgfix.profile import Profile
from imgfix.steps.edit import edited, parsing
from imgfix.textedit import bls, grubenv, kernel_args, shellvars
from imgfix.tree import Tree

GRUB_DEFAULTS = "/etc/default/grub"
GRUB_DROPINS = "/etc/default/grub.d/*.cfg"
KERNEL_CMDLINE = "/etc/kernel/cmdline"
BLS_ENTRIES = "/boot/loader/entries/*.conf"
GRUBENVS = ("/boot/grub2/grubenv", "/boot/grub/grubenv")

_REASON = "the kernel command line that Azure needs"
_SETTLED = "its kernel command line is as wanted"

#: GRUB's defaults: the first goes on every entry, the others on some, behind it (util/grub.d/10_linux.in).
_MAIN = "GRUB_CMDLINE_LINUX"
_OTHERS = ("GRUB_CMDLINE_LINUX_DEFAULT", "GRUB_CMDLINE_LINUX_RECOVERY")

#: With these set to true, grub-mkconfig writes root=/dev/sda1 (util/grub.d/10_linux.in, grub-mkconfig.in).
_DISK_NAMES = ("GRUB_DISABLE_LINUX_UUID", "GRUB_DISABLE_UUID")

#: Kernels before these need numa=off on large VMs: upstream, and Red Hat's backport (RHEL 6.6).
#: https://learn.microsoft.com/azure/virtual-machines/linux/create-upload-generic
_NUMA_UPSTREAM = (2, 6, 37)
_NUMA_EL = (2, 6, 32, 504)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line must have and must not have; `usable` are modules that no list may blacklist."""

    add: tuple[str, ...]
    remove: tuple[str, ...]
    storage: Storage
    usable: tuple[str, ...] = ()

    def main(self, cmdline: str) -> str:
        """Return `cmdline`, a whole one, as wanted."""
        return kernel_args.edit(self._mended(cmdline), add=self.add, remove=self.remove)

    def part(self, cmdline: str) -> str:
        """Return `cmdline`, which only comes behind a whole one: nothing is added that it does not override."""
        present = {_key(arg) for arg in kernel_args.split(cmdline)}
        mine = [arg for arg in self.add if "=" in arg and _key(arg) in present]
        return kernel_args.edit(self._mended(cmdline), add=mine, remove=self.remove)

    def problems(self, cmdline: str) -> tuple[str, ...]:
        """Return in words what is wrong with a whole command line; empty if nothing is."""
        found = kernel_args.missing(self._in_force(cmdline), self.add, self.remove)
        listed = kernel_args.blacklisted(cmdline, self.usable)
        found = (*found, *(f"{arg} disables a module that Azure needs" for arg in listed))
        return found if self._by_uuid(cmdline) == cmdline else (*found, "root= is a disk name")

    def _in_force(self, cmdline: str) -> str:
        """Return `cmdline` without the values that a later one overrides: a generated line may have both,
        one from GRUB_CMDLINE_LINUX and one from GRUB_CMDLINE_LINUX_DEFAULT or a drop-in behind it.
        """
        single = {_key(arg) for arg in self.add if "=" in arg and not _adds_up(_key(arg))}
        kept: dict[str, str] = {}
        for arg in reversed(kernel_args.split(cmdline)):
            console = arg.split(",", 1)[0] if _key(arg) == "console" else arg
            kept.setdefault(_key(arg) if _key(arg) in single else console, arg)
        return " ".join(reversed(kept.values()))

    def _mended(self, cmdline: str) -> str:
        return kernel_args.unblacklisted(self._by_uuid(cmdline), self.usable)

    def _by_uuid(self, cmdline: str) -> str:
        for arg in kernel_args.split(cmdline):
            spec = arg.removeprefix("root=")
            if arg.startswith("root=") and devices.names_disk(spec):
                found = devices.find(spec, self.storage)
                if found is not None and found.uuid:
                    cmdline = kernel_args.edit(cmdline, add=[f"root=UUID={found.uuid}"], remove=())
        return cmdline


def wanted(profile: Profile, facts: Facts, more_unwanted: Sequence[str]) -> Wanted:
    """Return what the command line shall be: the profile's, `numa=off` for old kernels, and what must go."""
    add = list(profile.kernel_args.add)
    if any(needs_numa_off(k.release) for k in facts.kernels) and "numa=off" not in add:
        add.append("numa=off")
    usable = profile.kernel_modules.named if profile.kernel_modules.enable else ()
    return Wanted(tuple(add), (*profile.kernel_args.remove, *more_unwanted), facts.storage, usable)


def needs_numa_off(release: str) -> bool:
    """Tell whether a kernel release has the NUMA defect on Hyper-V (R6)."""
    numbers = tuple(int(n) for n in re.findall(r"\d+", release.split(".el", maxsplit=1)[0]))
    if ".el" in release and numbers[:3] == _NUMA_EL[:3]:
        return numbers < _NUMA_EL
    return numbers[:3] < _NUMA_UPSTREAM


def edits(tree: Tree, want: Wanted) -> Iterator[Decision]:
    """Decide on every file that a command line is made from; grub.cfg itself is regenerated, not edited."""
    if files.is_file(tree, GRUB_DEFAULTS):
        yield edited(
            tree, GRUB_DEFAULTS, lambda text: _defaults(text, want, True), reason=_REASON, settled=_SETTLED
        )
    for path in files.glob(tree, GRUB_DROPINS):
        yield edited(tree, path, lambda text: _defaults(text, want, False), reason=_REASON, settled=_SETTLED)
    for path in files.glob(tree, BLS_ENTRIES):
        yield edited(tree, path, lambda text: _entry(text, want), reason=_REASON, settled=_SETTLED)
    if files.is_file(tree, KERNEL_CMDLINE):
        yield edited(tree, KERNEL_CMDLINE, lambda text: _lines(text, want), reason=_REASON, settled=_SETTLED)
    # The usual /boot/grub2/grubenv of an EFI guest is a link to the one on the ESP: each file once.
    for path in dict.fromkeys(files.resolve(tree, p) for p in GRUBENVS if files.is_file(tree, p)):
        yield _environment(tree, path, want)


def _defaults(text: str, want: Wanted, always: bool) -> str:
    for name in _OTHERS:
        text = shellvars.map_value(text, name, want.part)
    for name in _DISK_NAMES:
        text = shellvars.map_value(text, name, lambda value: "false" if value == "true" else value)
    mine = [one for one in shellvars.assignments(text) if one.name == _MAIN]
    if not mine:
        return shellvars.set_value(text, _MAIN, want.main("")) if always else text
    # What only extends an earlier value needs nothing added that it does not override.
    extends = {one.value for one in mine if one.append or _refers(one.value)}
    extends -= {mine[0].value} if always else set()
    return shellvars.map_value(
        text, _MAIN, lambda value: (want.part if value in extends else want.main)(value)
    )


def _refers(value: str) -> bool:
    """Tell whether a value of GRUB_CMDLINE_LINUX extends what it was before."""
    return re.search(rf"\$(?:{_MAIN}\b|\{{{_MAIN}\b)", value) is not None


def _entry(text: str, want: Wanted) -> str:
    # With $kernelopts the rest of the line stands in grubenv (EL 8).
    return bls.map_options(text, want.part if "$kernelopts" in bls.options(text) else want.main)


def lacks_kernelopts(tree: Tree) -> bool:
    """Tell whether BLS entries use $kernelopts and no grubenv has it: grub.cfg's own fallback counts then."""
    entries = (path for path in files.glob(tree, BLS_ENTRIES) if files.is_file(tree, path))
    if not any("$kernelopts" in bls.options(files.read_text(tree, path)) for path in entries):
        return False
    blocks = (files.read(tree, path) for path in GRUBENVS if files.is_file(tree, path))
    return not any("kernelopts" in grubenv.parse(block) for block in blocks)


def _lines(text: str, want: Wanted) -> str:
    body = text.rstrip("\n")
    if "\n" in body:  # kernel-install takes the lines together
        body = body.replace("\n", " ")
    return want.main(body) + text[len(text.rstrip("\n")) :]


def _environment(tree: Tree, path: str, want: Wanted) -> Decision:
    block = files.read(tree, path)
    with parsing(path):
        old = grubenv.parse(block).get("kernelopts")
        if old is None:
            return Noop(f"{path}: holds no kernel command line")
        new = want.main(old)
        if new == old:
            return Noop(f"{path}: {_SETTLED}")
        return WriteFile(path, grubenv.set_value(block, "kernelopts", new), _REASON)


def _adds_up(key: str) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in kernel_args.MULTI_VALUED)


def _key(arg: str) -> str:
    return arg.partition("=")[0].replace("-", "_")
