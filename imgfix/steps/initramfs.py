"""Hyper-V drivers in the initramfs of every kernel, now and after the guest's next kernel update (R10, R12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgfix import tree as files
from imgfix.change import AppendFile, Copy, Decision, Noop, Rebuild, RebuildKind
from imgfix.errors import GuestError
from imgfix.facts.model import DriverState, Facts, Kernel
from imgfix.pack import newc
from imgfix.profile import Profile
from imgfix.steps import initramfs_stale, swap
from imgfix.steps.edit import edited, parsing, written
from imgfix.steps.initramfs_append import Addition, addition
from imgfix.steps.kernel_modules import refuse_without
from imgfix.textedit import shellvars
from imgfix.tree import Tree

_MIB = 1 << 20

#: A rebuilt image may be larger than the old one: drivers for all machines instead of one.
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class _Generator:
    """One initramfs generator: how to recognise it, and its command.

    `{image}`, `{release}`, `{kernel}` (the vmlinuz) and `{root}` (the root's device) are filled in.
    """

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
    # EL 6 and Amazon Linux 1. Before 014 it lay in /sbin, and an image was for any machine unless asked otherwise:
    # https://github.com/dracutdevs/dracut/blob/004/dracut
    _Generator("dracut 004", ("/sbin/dracut",), ("dracut", "--force", "{image}", "{release}")),
    # SUSE before 12, called as virt-v2v does: it cannot tell the root's device in an appliance by itself.
    # https://github.com/libguestfs/virt-v2v/blob/master/convert/convert_linux.ml
    _Generator(
        "mkinitrd",
        ("/sbin/mkinitrd", "/etc/sysconfig/kernel"),
        ("env", "rootdev={root}", "/sbin/mkinitrd", "-k", "{kernel}", "-i", "{image}", "-d", "{root}"),
    ),
)

#: What initramfs-tools makes. systemd-boot loads a copy on the ESP, which a hook may or may not bring up to date.
_TOOLS_IMAGE = "/boot/initrd.img-{release}"

#: dracut learned this with 037; without it an image for any machine takes none of the old one's devices either.
_SINCE_037 = "--no-hostonly-cmdline"

DRACUT_CONF = "/etc/dracut.conf"
SUSE_KERNEL = "/etc/sysconfig/kernel"
DRACUT_DROPIN = "/etc/dracut.conf.d/50-imgfix-hyperv.conf"
MODULES = "/etc/initramfs-tools/modules"
MODULES_POLICY = "/etc/initramfs-tools/conf.d/imgfix-modules"


class Initramfs:
    """Writes the generator's drop-in; appends to or rebuilds the images that lack a driver or wait for swap."""

    name = "initramfs"
    requirements = ("R10", "R12")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield the drop-in, and for each kernel a backup and an addition or a rebuild, or a Noop."""
        drivers = profile.initramfs.drivers
        _refuse_kernels(facts.kernels, drivers)
        generator = next((g for g in _GENERATORS if all(files.is_file(tree, p) for p in g.programs)), None)
        if generator is not None:
            yield from _dropins(tree, generator, facts, drivers)
        yield from self._images(profile, facts, tree, generator)

    def _images(
        self, profile: Profile, facts: Facts, tree: Tree, generator: _Generator | None
    ) -> Iterator[Decision]:
        lacks = [_lack(profile, facts, kernel) for kernel in facts.kernels]
        ways = [_way(profile, facts, tree, lack) if lack.why else None for lack in lacks]
        changes = [(lack, way) for lack, way in zip(lacks, ways, strict=True) if way is not None]
        _refuse_small_boot(facts, changes, tree, backup=profile.initramfs.backup)
        for lack, way in zip(lacks, ways, strict=True):
            if way is None:
                yield Noop(
                    f"{lack.kernel.release}: its initramfs holds the drivers, or the kernel has them built in"
                )
            elif isinstance(way, Addition):
                yield from _append(profile, tree, lack, way)
            elif generator is None:
                append = "" if way else ", or append to the image: --set initramfs.method=append"
                raise GuestError(
                    f"{lack.kernel.image}: {lack.why}{way}, and the guest has no initramfs generator",
                    hint=f"install dracut or initramfs-tools in the guest{append}",
                )
            else:
                root = facts.storage.holding("/")
                device = root.device if root else ""
                reason = f"{lack.why}{way}"
                yield from _rebuild(profile, tree, lack.kernel, generator, reason, root=device)


@dataclass(frozen=True, slots=True)
class _Lack:
    """Why the initramfs of `kernel` will not do, or "", and the drivers that it lacks."""

    kernel: Kernel
    why: str
    drivers: tuple[str, ...]


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
    elif generator.name == "dracut 004":
        # It reads no drop-ins before 005.
        yield edited(
            tree, DRACUT_CONF, lambda t: _with_drivers(t, modules), reason=reason, settled="names the drivers"
        )
    elif generator.name == "mkinitrd":
        yield edited(
            tree, SUSE_KERNEL, lambda t: _with_initrd(t, modules), reason=reason, settled="names the drivers"
        )
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


def _with_drivers(text: str, modules: list[str]) -> str:
    present = (shellvars.get(text, "add_drivers") or "").split()
    glue = "" if not text or text.endswith("\n") else "\n"
    return text if set(modules) <= set(present) else f'{text}{glue}add_drivers+=" {" ".join(modules)} "\n'


def _with_initrd(text: str, modules: list[str]) -> str:
    present = (shellvars.get(text, "INITRD_MODULES") or "").split()
    wanted = [*present, *(m for m in modules if m not in present)]
    return text if wanted == present else shellvars.set_value(text, "INITRD_MODULES", " ".join(wanted))


def _policy(tree: Tree) -> str:
    """Return the MODULES policy in force: initramfs.conf, then conf.d in order (mkinitramfs)."""
    value = "most"
    for path in ("/etc/initramfs-tools/initramfs.conf", *files.glob(tree, "/etc/initramfs-tools/conf.d/*")):
        if path != MODULES_POLICY and files.is_file(tree, path):
            with parsing(path):
                value = shellvars.get(files.read_text(tree, path), "MODULES") or value
    return value


def _lack(profile: Profile, facts: Facts, kernel: Kernel) -> _Lack:
    needed = [d for d in profile.initramfs.drivers if kernel.driver(d) is DriverState.MODULE]
    image = kernel.initramfs
    if image is None:
        why = f"there is no initramfs to load {', '.join(needed)} from" if needed else ""
        return _Lack(kernel, why, tuple(needed))
    missing = tuple(d for d in needed if d not in image.modules)
    waits = initramfs_stale.waits_for(image, swap.unwanted_args(profile, facts))
    old = initramfs_stale.names_old_disks(profile, image)
    if missing:
        why = f"{image.path} lacks {', '.join(missing)}"
    elif disabled := initramfs_stale.disables(kernel, image.hooks, needed):
        why = f"{image.path} keeps drivers from loading: {disabled}"
    elif waits:
        why = f"{image.path} waits for removed swap: {waits}"
    else:
        why = f"{image.path} names the old machine's disks: {initramfs_stale.LVM_DEVICES}" if old else ""
    return _Lack(kernel, why, missing)


def _way(profile: Profile, facts: Facts, tree: Tree, lack: _Lack) -> Addition | str:
    """Return what to append, or why it is a rebuild, to follow the reason of that: "" where one is wanted.

    `auto` was decided before planning, by how the appliance runs; undecided it is a rebuild.
    """
    kernel, image = lack.kernel, lack.kernel.initramfs
    if profile.initramfs.method != "append" or image is None:
        return ""
    texts = dict(initramfs_stale.neutral(image, swap.unwanted_args(profile, facts)))
    needed = [d for d in profile.initramfs.drivers if kernel.driver(d) is DriverState.MODULE]
    if initramfs_stale.disables(kernel, image.hooks, needed):
        texts |= dict(initramfs_stale.renewed(image, tree))
        hooks = tuple((dict(image.hooks) | texts).items())
        if left := initramfs_stale.disables(kernel, hooks, needed):
            return f" (not appended: it would still hold {left})"
    changed = [newc.Entry(path, text.encode("utf-8", "surrogateescape")) for path, text in texts.items()]
    if initramfs_stale.names_old_disks(profile, image):
        # An archive can remove nothing; a link that leads nowhere is no devices file either.
        changed.append(newc.link(initramfs_stale.LVM_DEVICES, "/run/imgfix-removed"))
    found = addition(tree, kernel, lack.drivers, changed)
    return found if isinstance(found, Addition) else f" (not appended: {found})"


def _append(profile: Profile, tree: Tree, lack: _Lack, added: Addition) -> Iterator[Decision]:
    image = lack.kernel.initramfs
    assert image is not None
    yield from _backup(profile, tree, image.path)
    modules = f"; adds {', '.join(added.modules)}" if added.modules else ""
    reason = f"{lack.why}{modules}; to have it rebuilt: --set initramfs.method=rebuild"
    yield AppendFile(image.path, added.content, reason)


def _backup(profile: Profile, tree: Tree, image: str) -> Iterator[Decision]:
    backup = f"{image}.bak"
    if profile.initramfs.backup and not files.exists(tree, backup):
        yield Copy(image, backup, "the previous initramfs, to go back to")


def _rebuild(
    profile: Profile, tree: Tree, kernel: Kernel, generator: _Generator, reason: str, *, root: str
) -> Iterator[Decision]:
    if kernel.initramfs is None:
        raise GuestError(
            f"kernel {kernel.release} needs an initramfs for its Hyper-V drivers and has none",
            hint="make one in the guest (dracut, update-initramfs -c), then run imgfix again",
        )
    image = kernel.initramfs.path
    yield from _backup(profile, tree, image)
    if not kernel.modules_dep:
        yield Rebuild(
            RebuildKind.DEPMOD, kernel.release, (("depmod", kernel.release),), "modules.dep is missing"
        )
    fill = {"image": image, "release": kernel.release, "kernel": kernel.image, "root": root}
    command = tuple(word.format(**fill) for word in _known_to(tree, generator))
    made = _TOOLS_IMAGE.format(**fill)
    copy = (("cp", made, image),) if generator.name == "initramfs-tools" and image != made else ()
    yield Rebuild(RebuildKind.INITRAMFS, image, (command, *copy), reason, kernel=kernel.release)


def _known_to(tree: Tree, generator: _Generator) -> tuple[str, ...]:
    """Return the generator's command without what the guest's own script does not know."""
    script = files.read_text(tree, generator.programs[0]) if _SINCE_037 in generator.command else ""
    old = "--no-hostonly" in script and _SINCE_037 not in script
    return tuple(word for word in generator.command if not (old and word == _SINCE_037))


def _refuse_small_boot(
    facts: Facts, changes: list[tuple[_Lack, Addition | str]], tree: Tree, *, backup: bool
) -> None:
    """A rebuild needs room for the new image beside the old one; each backup, growth and addition stays."""
    boot = facts.storage.holding("/boot")
    images = [lack.kernel.initramfs for lack, _ in changes if lack.kernel.initramfs]
    if not images or boot is None or boot.free is None:
        return
    rebuilt = [
        lack.kernel.initramfs.size for lack, way in changes if isinstance(way, str) and lack.kernel.initramfs
    ]
    largest = max(rebuilt, default=0)
    needed = largest * _GROWTH + (sum(rebuilt) - largest) * (_GROWTH - 1)
    needed += sum(len(way.content) for _, way in changes if isinstance(way, Addition))
    if backup:
        needed += sum(image.size for image in images if not files.exists(tree, f"{image.path}.bak"))
    if boot.free < needed:
        keep = " and keep the previous ones" if backup else ""
        less = ", or keep no backups: --set initramfs.backup=false" if backup else ""
        what = "rebuild" if rebuilt else "append to"
        raise GuestError(
            f"{boot.free // _MIB} MiB free on {boot.mountpoint}, {int(needed) // _MIB} MiB needed to {what} "
            f"{len(images)} initramfs images{keep}",
            hint=f"remove old kernels in the guest{less}",
        )
