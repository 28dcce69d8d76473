"""All facts of a mounted guest, from one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imgfix.facts.distro import read_distro
from imgfix.facts.kernels import read_kernels
from imgfix.facts.model import Facts, InitramfsFacts, Storage
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
    return Facts(
        distro=read_distro(tree),
        kernels=read_kernels(tree, wanted, read_image),
        packages=read_packages(tree),
        storage=storage,
    )
