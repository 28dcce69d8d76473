"""What the kernel command line shall be, and every place in a guest where it lives."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imgfix import tree as files
from imgfix.change import Decision, Noop, WriteFile
from imgfix.facts import devices
from imgfix.facts.bootloader import Bootloader
from imgfix.facts.model import Facts, Kernel, Storage
from imgfix.profile import Profile
from imgfix.steps.edit import edited, parsing
from imgfix.textedit import bls, grub_legacy, grubenv, kernel_args, shellvars
from imgfix.textedit.grub_legacy import KernelLine
from imgfix.textedit.grub_legacy import Kind as LineKind
from imgfix.tree import Tree

GRUB_DEFAULTS = "/etc/default/grub"
GRUB_DROPINS = "/etc/default/grub.d/*.cfg"
KERNEL_CMDLINE = "/etc/kernel/cmdline"
GRUBENVS = ("/boot/grub2/grubenv", "/boot/grub/grubenv", "/boot/efi/EFI/*/grubenv")

#: SUSE before 12: what perl-Bootloader gives the entries of kernels that are installed later.
SUSE_BOOTLOADER = "/etc/sysconfig/bootloader"
_SUSE_APPEND = ("DEFAULT_APPEND", "FAILSAFE_APPEND")

_REASON = "the kernel command line that Azure needs"
_SETTLED = "its kernel command line is as wanted"

#: GRUB's defaults: the first goes on every entry, the others on some, behind it (util/grub.d/10_linux.in).
_MAIN = "GRUB_CMDLINE_LINUX"
_OTHERS = ("GRUB_CMDLINE_LINUX_DEFAULT", "GRUB_CMDLINE_LINUX_RECOVERY")

#: What 10_linux puts before GRUB_CMDLINE_LINUX.
_GENERATED = ("root=*", "ro", "rw", "rootflags=subvol=*")

#: With these set to true, grub-mkconfig writes root=/dev/sda1 (util/grub.d/10_linux.in, grub-mkconfig.in).
_DISK_NAMES = ("GRUB_DISABLE_LINUX_UUID", "GRUB_DISABLE_UUID")

#: What distributions call a kernel's file.
_LINUX = re.compile(r"(?:vmlinu[xz]|bzImage|Image)\b")

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
                if found is None and spec.startswith("/dev/disk/by-"):
                    # A serial number or a bus address (SUSE's by-id) tells no disk, but there is one root.
                    found = self.storage.holding("/")
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


def edits(tree: Tree, want: Wanted, loader: Bootloader, kernels: Sequence[Kernel]) -> Iterator[Decision]:
    """Decide on every file that a command line is made from; grub.cfg itself is regenerated, not edited."""
    if files.is_file(tree, GRUB_DEFAULTS):
        inherited = _inherited(tree, loader, kernels)
        yield _edit(tree, GRUB_DEFAULTS, lambda text: _defaults(text, want, True, inherited))
    for path in files.glob(tree, GRUB_DROPINS):
        yield _edit(tree, path, lambda text: _defaults(text, want, False, ""))
    for path in loader.entries:
        yield _edit(tree, path, lambda text: _entry(text, want))
    if files.is_file(tree, KERNEL_CMDLINE):
        yield _edit(tree, KERNEL_CMDLINE, lambda text: _lines(text, want))
    for path in _grubenvs(tree):
        yield _environment(tree, path, want)
    for path in loader.legacy:
        yield _edit(tree, path, lambda text: grub_legacy.map_kernels(text, lambda line: _line(line, want)))
    if loader.legacy and files.is_file(tree, SUSE_BOOTLOADER):
        yield _edit(tree, SUSE_BOOTLOADER, lambda text: _suse_append(text, want))


def _edit(tree: Tree, path: str, edit: Callable[[str], str]) -> Decision:
    return edited(tree, path, edit, reason=_REASON, settled=_SETTLED)


def _grubenvs(tree: Tree) -> tuple[str, ...]:
    """The usual /boot/grub2/grubenv of an EFI guest is a link to the one on the ESP: each file once."""
    found = (path for pattern in GRUBENVS for path in files.glob(tree, pattern) if files.is_file(tree, path))
    return tuple(dict.fromkeys(files.resolve(tree, path) for path in found))


def _defaults(text: str, want: Wanted, always: bool, inherited: str) -> str:
    for name in _OTHERS:
        text = shellvars.map_value(text, name, want.part)
    for name in _DISK_NAMES:
        text = shellvars.map_value(text, name, lambda value: "false" if value == "true" else value)
    mine = [one for one in shellvars.assignments(text) if one.name == _MAIN]
    if inherited and not any((shellvars.get(text, name) or "").strip() for name in (_MAIN, *_OTHERS[:1])):
        return shellvars.set_value(text, _MAIN, want.main(inherited))
    if not mine:
        return shellvars.set_value(text, _MAIN, want.main("")) if always else text
    # What only extends an earlier value needs nothing added that it does not override.
    extends = {one.value for one in mine if one.append or _refers(one.value)}
    extends -= {mine[0].value} if always else set()
    return shellvars.map_value(
        text, _MAIN, lambda value: (want.part if value in extends else want.main)(value)
    )


def _inherited(tree: Tree, loader: Bootloader, kernels: Sequence[Kernel]) -> str:
    """Return what the newest kernel's BLS entry has besides what grub-mkconfig adds by itself.

    Image builders leave GRUB_CMDLINE_LINUX empty and write the entries; grub2-mkconfig of Fedora, EL 8, 9.0 and
    9.1 would then overwrite them with nothing: https://github.com/cockpit-project/cockpit/issues/18382
    """
    release = kernels[-1].release if kernels else ""
    for path in loader.entries:
        text = files.read_text(tree, path)
        if release and bls.boots(text, release):
            with parsing(path):
                return kernel_args.edit(_expanded(tree, bls.options(text)), add=(), remove=_GENERATED)
    return ""


def _expanded(tree: Tree, options: str) -> str:
    """Return the options with grubenv's kernelopts in place, and without GRUB's other variables."""
    kernelopts = next((value for path in _grubenvs(tree) if (value := _kernelopts(tree, path))), "")
    words = (kernelopts if word == "$kernelopts" else word for word in kernel_args.split(options))
    return " ".join(word for word in words if word and not word.startswith("$"))


def _kernelopts(tree: Tree, path: str) -> str | None:
    with parsing(path):
        return grubenv.parse(files.read(tree, path)).get("kernelopts")


def _refers(value: str) -> bool:
    """Tell whether a value of GRUB_CMDLINE_LINUX extends what it was before."""
    return re.search(rf"\$(?:{_MAIN}\b|\{{{_MAIN}\b)", value) is not None


def _entry(text: str, want: Wanted) -> str:
    # An EFI program (memtest, a shell) has no kernel command line.
    if bls.get(text, "efi") is not None and bls.get(text, "linux") is None:
        return text
    # With $kernelopts the rest of the line stands in grubenv (EL 8).
    return bls.map_options(text, want.part if "$kernelopts" in bls.options(text) else want.main)


def lacks_kernelopts(tree: Tree, loader: Bootloader) -> bool:
    """Tell whether BLS entries use $kernelopts and no grubenv has it: grub.cfg's own fallback counts then."""
    if not any("$kernelopts" in bls.options(files.read_text(tree, path)) for path in loader.entries):
        return False
    return all(_kernelopts(tree, path) is None for path in _grubenvs(tree))


def _line(line: KernelLine, want: Wanted) -> str:
    if line.kind is LineKind.NORMAL_ENTRIES:
        return want.part(line.args)
    # memtest and Xen's own kernel take no such arguments; behind Xen, Linux is a `module`, and stays as it is.
    is_linux = line.kind is LineKind.ALL_ENTRIES or _LINUX.match(line.kernel.rpartition("/")[2])
    return want.main(line.args) if is_linux else line.args


def _suse_append(text: str, want: Wanted) -> str:
    for name in _SUSE_APPEND:
        text = shellvars.map_value(text, name, want.main)
    return text


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
