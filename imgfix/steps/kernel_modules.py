"""The modules that a VM on Azure needs: every kernel has them, and nothing keeps them from loading (R3, R10, R12).

What disables a module is told in `imgfix.facts.modprobe`. The copies of modprobe.d inside an initramfs matter for
the drivers that are loaded there; the step `initramfs` looks at them. Lists on the kernel command line are edited
with the rest of it, by the step `kernel_args`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop, Remove, WriteFile
from imgfix.errors import GuestError
from imgfix.facts import modprobe as facts_modprobe
from imgfix.facts.model import DriverState, Facts, Kernel
from imgfix.facts.modprobe import FOLDERS, VENDOR, Obstacle
from imgfix.profile import Profile
from imgfix.steps.edit import unfollowed
from imgfix.textedit import modprobe
from imgfix.tree import Kind, Tree

#: What a VM cannot do without a module; the words behind "without it".
_NEEDED_FOR = {
    "hv_vmbus": "it cannot run on Hyper-V",
    "hv_storvsc": "it cannot run on Hyper-V",
    "hv_netvsc": "it cannot run on Hyper-V",
    "vfat": "it can mount neither the EFI system partition nor the media that Azure provisions by",
    "udf": "it cannot mount the media that Azure provisions by",
}

#: cloud-init provisions without the media from here on, in some cases.
#: https://learn.microsoft.com/en-us/azure/virtual-machines/linux/create-upload-generic
_WITHOUT_UDF = (21, 2)

#: Enterprise Linux 6.4, the first with Hyper-V drivers (2.6.32-358).
_EL64 = (2, 6, 32, 358)

#: Where links from /etc lead to a package's file.
_PACKAGED = ("/usr/lib/", "/usr/share/", "/lib/")

_HEADER = "# Written by imgfix; it stands in for {path}, where a line kept {modules} from loading.\n"


class KernelModules:
    """Refuses kernels without a needed module, and removes the directives that disable one."""

    name = "kernel_modules"
    requirements = ("R3", "R10", "R12")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield the edits of modprobe.d, advice, or one Noop. Raises GuestError, naming kernel and module."""
        for kernel in facts.kernels:
            refuse_without(kernel, [m for m in profile.kernel_modules.required if m != "udf"])
            if "udf" in profile.kernel_modules.required and kernel.driver("udf") is DriverState.MISSING:
                lacks = f"kernel {kernel.release} has no udf, neither as a module nor built in"
                yield _without_udf(profile, facts, lacks)
        found = _obstacles(profile, facts, tree)
        for obstacle in (o for o in found if not o.certain):
            yield Advice(
                f"{obstacle.rule.place}: `{obstacle.rule.directive}` runs where {_object(obstacle)} is to be "
                "loaded; imgfix cannot tell whether it loads it"
            )
        certain = [o for o in found if o.certain]
        if not profile.kernel_modules.enable:
            yield from _kept(profile, facts, certain)
        else:
            for path in dict.fromkeys(o.rule.path for o in certain):
                yield from _enabled(profile, tree, path, [o for o in certain if o.rule.path == path])
        if not certain:
            yield Noop("nothing in modprobe.d disables a module that Azure needs")


def refuse_without(kernel: Kernel, modules: Sequence[str]) -> None:
    """Raise GuestError if `kernel` has one of `modules` neither as a module nor built in."""
    missing = [m for m in modules if kernel.driver(m) is DriverState.MISSING]
    if missing:
        why = dict.fromkeys(_NEEDED_FOR.get(m, "the profile requires it") for m in missing)
        raise GuestError(
            f"kernel {kernel.release} has no {', '.join(missing)}, neither as a module nor built in; "
            f"{'; '.join(why)}",
            hint=_hint(kernel.release, missing),
        )


def _hint(release: str, missing: Sequence[str]) -> str:
    if any(m.startswith("hv_") for m in missing):
        numbers = tuple(int(n) for n in re.findall(r"\d+", release.partition(".el")[0]))
        if ".el6" in release and numbers < _EL64:
            return (
                "Enterprise Linux 6.0 to 6.3 has no Hyper-V drivers: update the guest to 6.4 or later, or install "
                "Microsoft's Linux Integration Services (LIS) in it"
            )
        return "install a kernel with Hyper-V drivers, or remove this one"
    return (
        "install the rest of this kernel's modules (linux-modules-extra, kernel-modules, kernel-default), install "
        "another kernel, or remove this one"
    )


def _without_udf(profile: Profile, facts: Facts, what: str) -> Decision:
    """Decide on a guest that cannot mount UDF; `what` begins the sentence. Raises GuestError where it must."""
    package = facts.package("cloud-init")
    version = tuple(int(n) for n in re.findall(r"\d+", package.version)[:2]) if package else ()
    if profile.kernel_modules.udf == "optional":
        return Noop(f"{what}; the profile takes that")
    if profile.kernel_modules.udf == "auto":
        if profile.provisioner == "disabled":
            return Noop(f"{what}; it is needed for provisioning only, and this image is not provisioned")
        if package and profile.provisioner == "cloud-init" and version >= _WITHOUT_UDF:
            return Advice(
                f"{what}: cloud-init {package.version} can do without it, but only for VMs that sign in by SSH key "
                "and have no custom data (user data works)"
            )
    raise GuestError(
        f"{what}; {_NEEDED_FOR['udf']}",
        hint="install a kernel with udf; cloud-init 21.2 or later can do without it for VMs with SSH keys and without "
        "custom data: --set kernel_modules.udf=optional",
    )


def _obstacles(profile: Profile, facts: Facts, tree: Tree) -> list[Obstacle]:
    """Return what disables a module of the profile in a kernel that has it as a module, each thing once."""
    rules = facts_modprobe.read_rules(tree, old_tools=facts_modprobe.has_old_tools(facts.packages))
    return list(
        dict.fromkeys(
            obstacle
            for module in profile.kernel_modules.named
            for kernel in facts.kernels
            if kernel.driver(module) is DriverState.MODULE
            for obstacle in facts_modprobe.obstacles(rules, module, kernel.needs_of(module))
        )
    )


def _object(obstacle: Obstacle) -> str:
    through = obstacle.through
    return f"{obstacle.module} (by way of {through})" if through else obstacle.module


def _kept(profile: Profile, facts: Facts, obstacles: Sequence[Obstacle]) -> Iterator[Decision]:
    """Decide on what the profile leaves disabled."""
    for obstacle in obstacles:
        what = f"{obstacle.rule.place}: `{obstacle.rule.directive}` keeps {_object(obstacle)} from loading"
        if obstacle.module not in profile.kernel_modules.required:
            yield Advice(f"{what}, and the profile leaves that alone")
        elif obstacle.module == "udf":
            yield _without_udf(profile, facts, what)
        else:
            why = _NEEDED_FOR.get(obstacle.module, "the profile requires it")
            raise GuestError(
                f"{what}; {why}",
                hint="let imgfix remove the line: --set kernel_modules.enable=true",
            )


def _enabled(profile: Profile, tree: Tree, path: str, obstacles: Sequence[Obstacle]) -> Iterator[Decision]:
    """Decide on one file of modprobe.d.

    A file of a package comes back with its next update, so /etc gets one of the same name, which hides it. A
    driver of the initramfs is the exception: dracut copies the packages' folder into a generic image, and not
    /etc (modules.d/90kernel-modules/module-setup.sh), so there the line must go from the file itself.
    """
    for rule in (o.rule for o in obstacles if o.rule.directive.is_pattern):
        raise GuestError(
            f"{rule.place}: `{rule.directive}` disables every module of that name, among them "
            f"{', '.join(o.module for o in obstacles if o.rule == rule)}, which Azure needs",
            hint=f"name the modules one by one in {path}, without this one",
        )
    drop = {o.rule.directive for o in obstacles}
    new = modprobe.remove(files.read_text(tree, path), lambda directive: directive in drop)
    reason = "; ".join(
        dict.fromkeys(
            f"{o.rule.place}: `{o.rule.directive}` kept {_object(o)} from loading" for o in obstacles
        )
    )
    early = any(o.module in profile.initramfs.drivers for o in obstacles)
    target = path
    if posixpath.dirname(path) in VENDOR and not early:
        target = f"{FOLDERS[0]}/{posixpath.basename(path)}"
        modules = ", ".join(dict.fromkeys(o.module for o in obstacles))
        new = _HEADER.format(path=path, modules=modules) + new
    if _is_link(tree, target) and (target != path or files.resolve(tree, path).startswith(_PACKAGED)):
        yield Remove(target, f"{reason} (a file takes the place of this link)")
    yield WriteFile(target, new.encode("utf-8", "surrogateescape"), reason)


def _is_link(tree: Tree, path: str) -> bool:
    entry = unfollowed(tree, path)
    return entry is not None and entry.kind is Kind.LINK
