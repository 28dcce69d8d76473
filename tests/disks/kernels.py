"""Debian 12 with its agents and one kernel, for measuring: that for every machine, or that for clouds.

The initramfs images are without Hyper-V's drivers; MODULES=dep is left behind, which fits an image to its builder.
"""

from __future__ import annotations

from pathlib import Path

from . import image, loader
from .debian import GPT13, Release, prepare
from .host import run, say
from .image import MIB
from .root import Bootstrap, Root
from .workshop import Workshop

_WITH = (
    *("initramfs-tools", "zstd", "grub-pc", "systemd-sysv", "udev", "dbus", "sudo"),
    *("ifupdown", "isc-dhcp-client", "iproute2", "netbase", "procps"),
    *("waagent", "cloud-init", "cloud-guest-utils", "gdisk", "hyperv-daemons", "openssh-server"),
)
_GUID = "4D2C81B7-6E0F-4A95-B3D8-70F1C5A92E64"


def build_full(shop: Workshop) -> None:
    """The kernel for every machine: 4,000 modules, of which MODULES=most packs 1,500."""
    _build(shop, "linux-image-amd64", "a7f0c3d1-2b58-4e96-8d47-5c1e9b30f6a2", 2400 * MIB)


def build_cloud(shop: Workshop) -> None:
    """The kernel for clouds."""
    _build(shop, "linux-image-cloud-amd64", "c95b2e60-81d4-4f3a-a6e7-3d0f8c7b14e9", 1400 * MIB)


def build_many(shop: Workshop, count: int) -> None:
    """`count` kernels: the one for clouds, and more of its kind under other releases; for scripts/bench/scale."""
    _build(
        shop,
        "linux-image-cloud-amd64",
        "5e83b1f7-46a2-4c0d-9f35-e2a7d8016cb4",
        (1400 + 110 * count) * MIB,
        count,
    )


def _multiply(root: Root, work: Path, count: int) -> None:
    """Give the root more kernels, each with an image of its own; the modules are the same files.

    The images are the first one with the modules under another release, as its generator would make them, in a second.
    """
    (release,) = root.kernels()
    version, _, rest = release.partition("-")
    work.mkdir()
    first = root.at(f"/boot/initrd.img-{release}")
    run(("sh", "-ec", 'cd "$1"; zstd -dc "$2" | cpio -id --quiet', "sh", work, first))
    old = work / "usr/lib/modules" / release
    for number in range(1, count):
        new = f"{version}-{100 + number}-{rest.partition('-')[2]}"
        run(("cp", "-al", root.at(f"/usr/lib/modules/{release}"), root.at(f"/usr/lib/modules/{new}")))
        for name in ("vmlinuz", "config", "System.map"):
            run(("cp", "-l", root.at(f"/boot/{name}-{release}"), root.at(f"/boot/{name}-{new}")))
        old = old.rename(old.with_name(new))
        pack = 'cd "$1"; find . | cpio -o -H newc -R 0:0 --quiet | zstd -q -1 >"$2"'
        run(("sh", "-ec", pack, "sh", work, root.at(f"/boot/initrd.img-{new}")))


def _build(shop: Workshop, kernel: str, uuid: str, size: int, count: int = 1) -> None:
    release = Release(
        tree="debian13",
        system=Bootstrap(suite="bookworm", include=(kernel, *_WITH)),
        device=loader.RootDevice("/dev/sda2", "hd0,gpt2", uuid, "gpt"),
        tokens={},
        ready=False,
    )
    root = prepare(shop, release)
    if count > 1:
        _multiply(root, shop.folder / "image", count)
        loader.write_config(root, release.device)
    say("writing the disk")
    image.create(shop.disk, size)
    image.write_gpt(shop.disk, _GUID, GPT13)
    extents = image.extents(shop.disk)
    image.make_ext4(shop.disk, root.path, *extents[2], uuid=uuid, label="")
    core = loader.make_core(root, "(,gpt2)/boot/grub", ("biosdisk", "part_gpt", "ext2"))
    loader.embed(shop.disk, root, core, extents[1][0] // image.SECTOR, extents[1][1])
