"""What inside an initramfs is of the old machine and in the way of the new one, and the text that is not."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.facts import modprobe
from imgfix.facts.model import InitramfsFacts, Kernel
from imgfix.profile import Profile
from imgfix.steps.edit import parsing
from imgfix.textedit import kernel_args, shellvars
from imgfix.tree import Tree

#: Where LVM is told the only devices that it may use; names the old machine's (lvmdevices(8)).
LVM_DEVICES = "etc/lvm/devices/system.devices"


def disables(kernel: Kernel, hooks: Sequence[tuple[str, str]], drivers: Sequence[str]) -> str:
    """Return the first line of the image's own copy of modprobe.d that disables one of `drivers`, or ""."""
    rules = modprobe.in_initramfs(hooks)
    found = (o for d in drivers for o in modprobe.obstacles(rules, d, kernel.needs_of(d)) if o.certain)
    first = next(found, None)
    return f"{first.rule.place}: {first.rule.directive}" if first else ""


def renewed(image: InitramfsFacts, tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield path and text of each modprobe.d file of the image that the guest has otherwise now, or not at all.

    Of files with one name in several folders the first folder's counts, so that it stands for all of them.
    """
    for path, text in image.hooks:
        folder, name = posixpath.split(f"/{path}")
        if folder in modprobe.FOLDERS:
            places = [f"{f}/{name}" for f in modprobe.FOLDERS if files.is_file(tree, f"{f}/{name}")]
            new = files.read_text(tree, places[0]) if places else ""
            if new != text:
                yield path, new


def waits_for(image: InitramfsFacts, stale: tuple[str, ...]) -> str:
    """Return what inside the image names removed swap, as "file: word", or "". `stale` are kernel arguments."""
    for path, text in image.hooks:
        with parsing(f"{image.path}, {path}"):
            if path.startswith("conf/"):
                resume = shellvars.get(text, "RESUME")
                if stale and resume not in (None, "", "none"):
                    return f"{path}: RESUME={resume}"
            elif _is_cmdline(path):
                for line in text.splitlines():
                    if kernel_args.edit(line, add=(), remove=stale) != line:
                        return f"{path}: {line.strip()}"
    return ""


def neutral(image: InitramfsFacts, stale: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield path and new text of each file in which `waits_for` would find something.

    An empty RESUME ends the search in every version of initramfs-tools, `none` only in later ones
    (scripts/local-premount/resume).
    """
    for path, text in image.hooks:
        with parsing(f"{image.path}, {path}"):
            if path.startswith("conf/"):
                resume = shellvars.get(text, "RESUME")
                new = (
                    shellvars.set_value(text, "RESUME", "")
                    if stale and resume not in (None, "none")
                    else text
                )
            elif _is_cmdline(path):
                lines = text.splitlines(keepends=True)
                new = "".join(_without(line, stale) for line in lines)
            else:
                new = text
        if new != text:
            yield path, new


def _is_cmdline(path: str) -> bool:
    """dracut of EL 6 has one file of arguments, later ones have a folder."""
    return path == "etc/cmdline" or path.startswith("etc/cmdline.d/")


def _without(line: str, stale: tuple[str, ...]) -> str:
    body = line.rstrip("\r\n")
    return kernel_args.edit(body, add=(), remove=stale) + line[len(body) :]


def names_old_disks(profile: Profile, image: InitramfsFacts) -> bool:
    """Tell whether the image holds LVM's list of the old machine's devices, which the profile removes."""
    removed = any(fnmatch.fnmatchcase(f"/{LVM_DEVICES}", pattern) for pattern in profile.leftovers.remove)
    return removed and any(path == LVM_DEVICES for path, _ in image.hooks)
