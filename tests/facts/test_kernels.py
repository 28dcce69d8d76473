"""Kernels on the file layouts of the distributions."""

from __future__ import annotations

import random

import pytest

from imgfix.errors import GuestError
from imgfix.facts import kernels
from imgfix.facts.kernels import read_kernels, release_key
from imgfix.facts.model import DriverState, InitramfsFacts, Kernel
from tests.fake_tree import FakeEntry, FakeTree, link

DRIVERS = ("hv_vmbus", "hv_storvsc", "hv_netvsc", "vfat", "udf")
MODULE, BUILTIN, MISSING = DriverState.MODULE, DriverState.BUILTIN, DriverState.MISSING
Files = dict[str, "bytes | str | FakeEntry"]

DEP = """kernel/drivers/hv/hv_vmbus.ko.xz:
kernel/drivers/scsi/hv_storvsc.ko.xz: kernel/drivers/hv/hv_vmbus.ko.xz kernel/drivers/scsi/udf.ko.xz
kernel/drivers/net/hyperv/hv-netvsc.ko.zst: kernel/drivers/hv/hv_vmbus.ko.xz
"""


def image(path: str) -> InitramfsFacts:
    return InitramfsFacts(path, 1, "gzip", frozenset(), ())


def read(files: Files) -> tuple[Kernel, ...]:
    return read_kernels(FakeTree(files), DRIVERS, image)


def states(files: Files) -> tuple[DriverState, ...]:
    (kernel,) = read(files)
    return tuple(kernel.driver(name) for name in DRIVERS)


@pytest.mark.parametrize(
    ("release", "vmlinuz", "initrd"),
    [
        ("6.1.0-13-amd64", "/boot/vmlinuz-6.1.0-13-amd64", "/boot/initrd.img-6.1.0-13-amd64"),
        (
            "5.14.0-427.el9.x86_64",
            "/boot/vmlinuz-5.14.0-427.el9.x86_64",
            "/boot/initramfs-5.14.0-427.el9.x86_64.img",
        ),
        (
            "5.14.21-150500-default",
            "/boot/vmlinuz-5.14.21-150500-default",
            "/boot/initrd-5.14.21-150500-default",
        ),
        ("2.6.18-398.el5", "/boot/vmlinuz-2.6.18-398.el5", "/boot/initrd-2.6.18-398.el5.img"),
        ("6.4.0-default", "/boot/Image-6.4.0-default", "/boot/initrd-6.4.0-default"),
        ("6.8.0-31-generic", "/boot/vmlinux-6.8.0-31-generic", "/boot/initrd.img-6.8.0-31-generic"),
        ("6.9.1-200.fc40", "/lib/modules/6.9.1-200.fc40/vmlinuz", "/boot/initramfs-6.9.1-200.fc40.img"),
    ],
)
def test_names_of_the_distributions(release: str, vmlinuz: str, initrd: str) -> None:
    files: Files = {f"/lib/modules/{release}/modules.dep": DEP, vmlinuz: "", initrd: ""}
    (kernel,) = read({**files, f"{initrd}.bak": "", f"{initrd}.old": ""})
    assert (kernel.release, kernel.image, kernel.initramfs) == (release, vmlinuz, image(initrd))


@pytest.mark.parametrize("lib", [link("usr/lib"), link("/usr/lib"), None])
def test_a_usr_merged_guest(lib: FakeEntry | None) -> None:
    files: Files = {"/usr/lib/modules/6.1/modules.dep": DEP, "/boot/vmlinuz-6.1": ""}
    (kernel,) = read(files if lib is None else {**files, "/lib": lib})
    assert kernel.driver("hv_vmbus") is MODULE
    assert kernel.modules_dep
    assert kernel.initramfs is None


def test_a_linked_image_is_read_where_it_is_and_named_as_the_boot_loader_does() -> None:
    asked: list[str] = []

    def reader(path: str) -> InitramfsFacts:
        asked.append(path)
        return image(path)

    files: Files = {
        "/lib/modules/6.4/modules.dep": DEP,
        "/lib/modules/6.4/vmlinuz": "",
        "/boot/vmlinuz-6.4": link("../lib/modules/6.4/vmlinuz"),
        "/boot/initrd-6.4": link("store/initrd"),
        "/boot/store/initrd": "",
    }
    (kernel,) = read_kernels(FakeTree(files), DRIVERS, reader)
    assert asked == ["/boot/store/initrd"]
    assert kernel.initramfs == image("/boot/initrd-6.4")
    assert kernel.image == "/boot/vmlinuz-6.4"


@pytest.mark.parametrize("esp", ["/efi", "/boot/efi", "/boot"])
def test_systemd_boot_loads_a_copy_on_the_esp(esp: str) -> None:
    files: Files = {
        "/lib/modules/6.1/modules.dep": DEP,
        "/lib/modules/6.1/vmlinuz": "",
        "/boot/initrd.img-6.1": "",
        f"{esp}/loader/entries/a.conf": "linux /4c7a/6.1.2/linux\ninitrd /4c7a/6.1.2/initrd\n",
        f"{esp}/loader/entries/b.conf": "linux /4c7a/6.1/linux\ninitrd /ucode /4c7a/6.1/initrd\n",
        f"{esp}/4c7a/6.1/initrd": "",
        f"{esp}/4c7a/6.1.2/initrd": "",
    }
    (kernel,) = read(files)
    assert kernel.initramfs == image(f"{esp}/4c7a/6.1/initrd")
    (kernel,) = read({**files, "/boot/grub/grub.cfg": ""})
    assert kernel.initramfs == image("/boot/initrd.img-6.1")
    del files[f"{esp}/4c7a/6.1/initrd"]
    (kernel,) = read(files)
    assert kernel.initramfs == image("/boot/initrd.img-6.1")


def test_what_is_no_bootable_kernel() -> None:
    files: Files = {
        "/lib/modules/6.1-gone/modules.dep": DEP,
        "/lib/modules/extra/x.ko": "",
        "/lib/modules/3.0.101-kdump/modules.dep": DEP,
        "/boot/vmlinuz-3.0.101-kdump": "",
        "/boot/vmlinuz-0-rescue-abc": "",
        "/boot/vmlinuz-6.2": "",
        "/lib/modules/6.3/modules.dep": DEP,
        "/boot/vmlinuz-6.3": link("gone"),
        "/lib/modules/6.4/modules.dep": DEP,
        "/boot/vmlinuz-6.4": "",
        "/boot/initramfs-6.4kdump.img": "",
        "/boot/initrd-6.4-kdump": "",
    }
    assert [(k.release, k.initramfs) for k in read(files)] == [("6.4", None)]
    assert read({}) == ()


def test_newest_last() -> None:
    order = [
        "2.6.32-754.el6",
        "4.18.0-80.el8",
        "4.18.0-80.1.2.el8",
        "4.18.0-348.el8",
        "5.4.0-9-generic",
        "5.4.0-10-generic",
        "5.14.0-70.13.1.el9_0.x86_64",
        "5.14.0-427.el9.x86_64",
        "6.1.0-9-amd64",
        "6.1.0-13-amd64",
        "6.10.3",
    ]
    mixed = random.Random(1).sample(order, len(order))
    assert sorted(mixed, key=release_key) == order
    files: Files = {}
    for release in mixed:
        files |= {f"/lib/modules/{release}/modules.dep": DEP, f"/boot/vmlinuz-{release}": ""}
    assert [kernel.release for kernel in read(files)] == order


KERNEL: Files = {"/boot/vmlinuz-6.1": ""}


def test_drivers_from_modules_dep_and_builtin() -> None:
    files: Files = {
        "/lib/modules/6.1/modules.dep": DEP,
        "/lib/modules/6.1/modules.builtin": "kernel/fs/fat/vfat.ko\n",
        "/boot/config-6.1": "CONFIG_UDF_FS=y\n",
    }
    assert states(KERNEL | files) == (MODULE, MODULE, MODULE, BUILTIN, MISSING)


def test_what_drivers_depend_on() -> None:
    (kernel,) = read(KERNEL | {"/lib/modules/6.1/modules.dep": DEP})
    assert kernel.needs_of("hv_storvsc") == ("hv_vmbus", "udf")
    assert kernel.needs_of("hv_netvsc") == ("hv_vmbus",)
    assert kernel.needs_of("hv_vmbus") == kernel.needs_of("vfat") == ()


def test_absolute_names_of_old_depmod() -> None:
    dep = "/lib/modules/2.6.18/kernel/drivers/hv/hv_vmbus.ko:\n"
    files: Files = {"/lib/modules/2.6.18/modules.dep": dep, "/boot/vmlinuz-2.6.18": ""}
    assert states(files)[0] is MODULE


@pytest.mark.parametrize("config", ["/boot/config-6.1", "/lib/modules/6.1/config"])
def test_config_answers_where_modules_builtin_is_missing(config: str) -> None:
    text = "CONFIG_HYPERV=y\n# CONFIG_UDF_FS is not set\nCONFIG_HYPERV_STORAGE=m\nCONFIG_VFAT_FS=y\n"
    files: Files = {"/lib/modules/6.1/modules.dep": "kernel/hv_storvsc.ko:\n", config: text}
    assert states(KERNEL | files) == (BUILTIN, MODULE, MISSING, BUILTIN, MISSING)


@pytest.mark.parametrize("dep", [{}, {"/usr/lib/modules/6.1/modules.dep": ""}])
def test_the_folder_answers_where_modules_dep_is_missing(dep: Files) -> None:
    files: Files = {
        "/lib": link("usr/lib"),
        "/usr/lib/modules/6.1/kernel/drivers/hv/hv_vmbus.ko.gz": "",
        "/usr/lib/modules/6.1/kernel/drivers/net/v1.0/hv-netvsc.ko": "",
        "/usr/lib/modules/6.1/updates/hv_storvsc.ko.zst": "",
        "/usr/lib/modules/6.1/build": link("/usr/src/linux"),
        "/usr/src/linux/vfat.ko": "",
    }
    (kernel,) = read(KERNEL | files | dep)
    assert [kernel.driver(name) for name in DRIVERS] == [MODULE, MODULE, MODULE, MISSING, MISSING]
    assert not kernel.modules_dep


def test_the_folder_is_not_walked_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "FOLDER_LIMIT", 0)
    builtin = "".join(f"kernel/{name}.ko\n" for name in DRIVERS)
    assert set(states(KERNEL | {"/lib/modules/6.1/modules.builtin": builtin})) == {BUILTIN}
    with pytest.raises(GuestError, match="more than 0 folders"):
        read(KERNEL | {"/lib/modules/6.1/x": ""})


def test_an_unreadable_initramfs_is_not_passed_over() -> None:
    def refuse(path: str) -> InitramfsFacts:
        raise GuestError(f"{path}: damaged")

    files: Files = {"/lib/modules/6.1/modules.dep": DEP, "/boot/initrd-6.1": ""}
    with pytest.raises(GuestError, match="damaged"):
        read_kernels(FakeTree(KERNEL | files), DRIVERS, refuse)
