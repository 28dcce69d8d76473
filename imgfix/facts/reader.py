"""All facts of a mounted guest, from one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imgfix.facts.distro import read_distro
from imgfix.facts.firmware import read_generations
from imgfix.facts.kernels import read_kernels
from imgfix.facts.model import Disabled, DriverState, Facts, InitramfsFacts, Kernel, Package, Storage
from imgfix.facts.modprobe import has_old_tools, obstacles, read_rules
from imgfix.facts.packages import read_packages
from imgfix.tree import Tree

#: What Hyper-V, Azure's provisioning, and the disks and network cards of its VM sizes need of a kernel (R3, R10).
DRIVERS = (
    *("hv_vmbus", "hv_storvsc", "hv_netvsc", "hv_utils", "hv_balloon"),
    *("vfat", "udf", "isofs", "nvme", "mlx4_en", "mlx5_core", "mana"),
)


def read_facts(
    tree: Tree, storage: Storage, read_image: Callable[[str], InitramfsFacts], drivers: Sequence[str] = ()
) -> Facts:
    """Return the facts of the guest `tree`; `drivers` are asked for besides DRIVERS.

    Raises GuestError for a guest that is not supported or a file that cannot be parsed.
    """
    wanted = tuple(dict.fromkeys((*DRIVERS, *drivers)))
    distro, kernels, packages = read_distro(tree), read_kernels(tree, wanted, read_image), read_packages(tree)
    return Facts(
        distro=distro,
        kernels=kernels,
        packages=packages,
        storage=storage,
        generations=read_generations(tree, storage),
        disabled=tuple(_disabled(tree, kernels, packages)),
    )


def _disabled(tree: Tree, kernels: tuple[Kernel, ...], packages: tuple[Package, ...]) -> list[Disabled]:
    rules = read_rules(tree, old_tools=has_old_tools(packages))
    found = (
        Disabled(driver, obstacle.rule.place, str(obstacle.rule.directive))
        for kernel in kernels
        for driver, state in kernel.drivers
        if state is DriverState.MODULE
        for obstacle in obstacles(rules, driver, kernel.needs_of(driver))
        if obstacle.certain
    )
    return list(dict.fromkeys(found))
