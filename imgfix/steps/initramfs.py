"""Hyper-V drivers in the initramfs of every kernel, now and after the guest's next kernel update (R10, R12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgfix import tree as files
from imgfix.change import Copy, Decision, Noop, Rebuild, RebuildKind
from imgfix.errors import GuestError
from imgfix.facts import modprobe
from imgfix.facts.model import DriverState, Facts, InitramfsFacts, Kernel
from imgfix.profile import Profile
from imgfix.steps import swap
from imgfix.steps.edit import edited, parsing, written
from imgfix.steps.kernel_modules import refuse_without
from imgfix.textedit import kernel_args, shellvars
from imgfix.tree import Tree

_MIB = 1 << 20

#: A rebuilt image may be larger than the old one: drivers for all machines instead of one.
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class _Generator:
    """One initramfs generator: how to recognise it, and its command; `{image}` and `{release}` are filled in."""

    name: str
    programs: tuple[str, ...]
    command: tuple[str, ...]


# The appliance is not the target machine: dracut must not look at it (--no-hostonly).
# Debian 13 and Ubuntu 25.10 may have dracut behind update-initramfs; the images' own tool comes first.
_GENERATORS = (
    _Generator(
        "initramfs-tools",
        ("/usr/sbin/update-initramfs", "/usr/sbin/mkinitramfs"),
        ("update-initramfs", "-u", "-k", "{release}"),
    ),
    _Generator(
        "dracut",
        ("/usr/bin/dracut",),
        ("dracut", "--force", "--no-hostonly", "--no-hostonly-cmdline", "{image}", "{release}"),
    ),
)

DRACUT_DROPIN = "/etc/dracut.conf.d/50-imgfix-hyperv.conf"
MODULES = "/etc/initramfs-tools/modules"
MODULES_POLICY = "/etc/initramfs-tools/conf.d/imgfix-modules"


class Initramfs:
    """Writes the generator's drop-in, and rebuilds the images that lack a driver or wait for removed swap."""

    name = "initramfs"
    requirements = ("R10", "R12")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield the drop-in, and for each kernel a backup and a rebuild, or a Noop."""
        drivers = profile.initramfs.drivers
        _refuse_kernels(facts.kernels, drivers)
        generator = next((g for g in _GENERATORS if all(files.is_file(tree, p) for p in g.programs)), None)
        if generator is not None:
            yield from _dropins(tree, generator, facts, drivers)
        stale = swap.unwanted_args(profile, facts)
        reasons = {kernel.release: _why(kernel, drivers, stale) for kernel in facts.kernels}
        images = [k.initramfs for k in facts.kernels if reasons[k.release] and k.initramfs]
        _refuse_small_boot(facts, images, tree, backup=profile.initramfs.backup)
        for kernel in facts.kernels:
            if not reasons[kernel.release]:
                yield Noop(
                    f"{kernel.release}: its initramfs holds the drivers, or the kernel has them built in"
                )
                continue
            if generator is None:
                raise GuestError(
                    f"{kernel.image}: {reasons[kernel.release]}, and the guest has no initramfs generator",
                    hint="install dracut or initramfs-tools in the guest",
                )
            yield from _rebuild(profile, tree, kernel, generator, reasons[kernel.release])


def _refuse_kernels(kernels: tuple[Kernel, ...], drivers: tuple[str, ...]) -> None:
    if not kernels:
        raise GuestError(
            "no bootable kernel: no folder of /lib/modules has a vmlinuz in /boot",
            hint="is /boot on another disk? imgfix needs it on the OS disk",
        )
    for kernel in kernels:
        refuse_without(kernel, drivers)


def _dropins(tree: Tree, generator: _Generator, facts: Facts, drivers: tuple[str, ...]) -> Iterator[Decision]:
    reason = "the guest's next kernel update keeps the Hyper-V drivers"
    # A driver that is built into every kernel would only make the generator complain.
    modules = [d for d in drivers if any(k.driver(d) is DriverState.MODULE for k in facts.kernels)]
    if not modules:
        yield Noop("every kernel has the Hyper-V drivers built in")
    elif generator.name == "dracut":
        # The blanks inside the quotes matter: dracut joins the drop-ins as they are (dracut.conf(5)).
        yield written(tree, DRACUT_DROPIN, f'add_drivers+=" {" ".join(modules)} "\n', reason=reason)
    else:
        yield edited(
            tree, MODULES, lambda t: _with_modules(t, modules), reason=reason, settled="names the drivers"
        )
        # MODULES=dep would look at the machine that runs the generator: now the appliance (initramfs.conf(5)).
        if _policy(tree) == "dep":
            text = (
                "# imgfix: the image must boot on other machines than the one that built it\nMODULES=most\n"
            )
            yield written(tree, MODULES_POLICY, text, reason="MODULES=dep would fit the appliance, not Azure")
        else:
            yield Noop("initramfs-tools does not tailor images to the machine that builds them")


def _with_modules(text: str, modules: list[str]) -> str:
    present = {line.split()[0].replace("-", "_") for line in text.splitlines() if line.split()}
    new = [m for m in modules if m not in present]
    if not new:
        return text
    glue = "" if not text or text.endswith("\n") else "\n"
    return text + glue + "".join(f"{module}\n" for module in new)


def _policy(tree: Tree) -> str:
    """Return the MODULES policy in force: initramfs.conf, then conf.d in order (mkinitramfs)."""
    value = "most"
    for path in ("/etc/initramfs-tools/initramfs.conf", *files.glob(tree, "/etc/initramfs-tools/conf.d/*")):
        if path != MODULES_POLICY and files.is_file(tree, path):
            with parsing(path):
                value = shellvars.get(files.read_text(tree, path), "MODULES") or value
    return value


def _why(kernel: Kernel, drivers: tuple[str, ...], stale: tuple[str, ...]) -> str:
    """Return why the kernel's initramfs must be rebuilt, or ""."""
    needed = [d for d in drivers if kernel.driver(d) is DriverState.MODULE]
    if kernel.initramfs is None:
        return f"there is no initramfs to load {', '.join(needed)} from" if needed else ""
    missing = [d for d in needed if d not in kernel.initramfs.modules]
    if missing:
        return f"{kernel.initramfs.path} lacks {', '.join(missing)}"
    if disabled := _disables(kernel, kernel.initramfs, needed):
        return f"{kernel.initramfs.path} keeps drivers from loading: {disabled}"
    waits = _waits_for(kernel.initramfs, stale)
    return f"{kernel.initramfs.path} waits for removed swap: {waits}" if waits else ""


def _disables(kernel: Kernel, image: InitramfsFacts, drivers: list[str]) -> str:
    """Return the first line of the image's own copy of modprobe.d that disables one of `drivers`, or ""."""
    rules = modprobe.in_initramfs(image.hooks)
    found = (o for d in drivers for o in modprobe.obstacles(rules, d, kernel.needs_of(d)) if o.certain)
    first = next(found, None)
    return f"{first.rule.place}: {first.rule.directive}" if first else ""


def _waits_for(image: InitramfsFacts, stale: tuple[str, ...]) -> str:
    """Return what inside the image names removed swap, as "file: word", or ""."""
    for path, text in image.hooks:
        with parsing(f"{image.path}, {path}"):
            if path.startswith("conf/"):
                resume = shellvars.get(text, "RESUME")
                if stale and resume not in (None, "", "none"):
                    return f"{path}: RESUME={resume}"
            elif path.startswith("etc/cmdline.d/"):
                for line in text.splitlines():
                    if kernel_args.edit(line, add=(), remove=stale) != line:
                        return f"{path}: {line.strip()}"
    return ""


def _rebuild(
    profile: Profile, tree: Tree, kernel: Kernel, generator: _Generator, reason: str
) -> Iterator[Decision]:
    if kernel.initramfs is None:
        raise GuestError(
            f"kernel {kernel.release} needs an initramfs for its Hyper-V drivers and has none",
            hint="make one in the guest (dracut, update-initramfs -c), then run imgfix again",
        )
    image = kernel.initramfs.path
    backup = f"{image}.bak"
    if profile.initramfs.backup and not files.exists(tree, backup):
        yield Copy(image, backup, "the previous initramfs, to go back to")
    if not kernel.modules_dep:
        yield Rebuild(
            RebuildKind.DEPMOD, kernel.release, (("depmod", kernel.release),), "modules.dep is missing"
        )
    fill = {"image": image, "release": kernel.release}
    command = tuple(word.format(**fill) for word in generator.command)
    yield Rebuild(RebuildKind.INITRAMFS, image, (command,), reason)


def _refuse_small_boot(facts: Facts, images: list[InitramfsFacts], tree: Tree, *, backup: bool) -> None:
    """A rebuild needs room for the new image beside the old one; each backup and each growth stays."""
    boot = facts.storage.holding("/boot")
    if not images or boot is None or boot.free is None:
        return
    largest = max(image.size for image in images)
    needed = largest * _GROWTH + (sum(image.size for image in images) - largest) * (_GROWTH - 1)
    if backup:
        needed += sum(image.size for image in images if not files.exists(tree, f"{image.path}.bak"))
    if boot.free < needed:
        keep = " and keep the previous ones" if backup else ""
        less = ", or keep no backups: --set initramfs.backup=false" if backup else ""
        raise GuestError(
            f"{boot.free // _MIB} MiB free on {boot.mountpoint}, {int(needed) // _MIB} MiB needed to rebuild "
            f"{len(images)} initramfs images{keep}",
            hint=f"remove old kernels in the guest{less}",
        )
