"""From the removable-media loader to GRUB's configuration, on the layouts of the distributions."""

from __future__ import annotations

import pytest

from imgfix.facts.firmware import find, machine_of, read_generations, vendor_folders
from imgfix.facts.model import Filesystem, Storage, Verdict
from tests.fake_tree import FakeEntry, FakeTree, folder, link

from . import efi_writer as efi

Files = dict[str, "bytes | str | FakeEntry"]

ESP = Filesystem("/dev/sda1", "vfat", partition=1, mountpoint="/boot/efi")
DEBIAN_GRUB = efi.grub("/EFI/debian", config="normal (memdisk)/grub.cfg", memdisk=b"$cmdpath")
CSV = "shimx64.efi,ubuntu,,This is the boot entry for ubuntu\n".encode("utf-16")


def on_esp(files: Files) -> Files:
    return {f"/boot/efi/{path}": content for path, content in files.items()}


def gen2(files: Files, storage: Storage | None = None) -> tuple[bool, tuple[str, ...]]:
    verdict = read_generations(FakeTree(files), storage or Storage("gpt", (ESP,), esp=1)).gen2
    return verdict.possible, verdict.reasons


@pytest.mark.parametrize(
    ("files", "reasons"),
    [
        # Debian, grub-install --force-extra-removable --no-uefi-secure-boot
        (
            {"EFI/BOOT/BOOTX64.EFI": efi.grub("(,gpt3)/boot/grub")},
            ("EFI/BOOT/BOOTX64.EFI is GRUB 2", "GRUB finds its configuration by itself in (,gpt3)/boot/grub"),
        ),
        # the same with a signed GRUB, names in another case
        (
            {"efi/boot/bootx64.efi": DEBIAN_GRUB, "efi/debian/GRUB.CFG": ""},
            ("efi/boot/bootx64.efi is GRUB 2", "GRUB reads efi/debian/GRUB.CFG"),
        ),
        # Azure Linux
        (
            {
                "EFI/BOOT/bootx64.efi": efi.shim(),
                "EFI/BOOT/grubx64.efi": efi.grub("/boot/grub2"),
                "boot/grub2/grub.cfg": "",
            },
            (
                "EFI/BOOT/bootx64.efi is shim and starts grubx64.efi",
                "EFI/BOOT/grubx64.efi is GRUB 2",
                "GRUB reads boot/grub2/grub.cfg",
            ),
        ),
        # RHEL, Fedora, Ubuntu: fallback makes the boot entry
        (
            {
                "EFI/BOOT/BOOTX64.EFI": efi.shim(),
                "EFI/BOOT/fbx64.efi": efi.other("fallback"),
                "EFI/ubuntu/BOOTX64.CSV": CSV,
                "EFI/ubuntu/shimx64.efi": efi.shim(),
                "EFI/ubuntu/grubx64.efi": efi.grub("/EFI/ubuntu"),
                "EFI/ubuntu/grub.cfg": "",
            },
            (
                "EFI/BOOT/BOOTX64.EFI is shim and starts fbx64.efi",
                "it makes a boot entry and restarts the VM once",
                "EFI/ubuntu/shimx64.efi is shim and starts grubx64.efi",
                "EFI/ubuntu/grubx64.efi is GRUB 2",
                "GRUB reads EFI/ubuntu/grub.cfg",
            ),
        ),
        # SUSE on Azure, after shim-install
        (
            {
                "EFI/boot/bootx64.efi": efi.shim("grub.efi", "fallback.efi"),
                "EFI/boot/grub.efi": efi.grub(""),
                "EFI/boot/grub.cfg": "",
            },
            (
                "EFI/boot/bootx64.efi is shim and starts grub.efi",
                "EFI/boot/grub.efi is GRUB 2",
                "GRUB reads EFI/boot/grub.cfg",
            ),
        ),
        # Enterprise Linux 6
        (
            {"EFI/BOOT/BOOTX64.EFI": efi.grub_legacy(), "EFI/BOOT/bootx64.conf": ""},
            ("EFI/BOOT/BOOTX64.EFI is GRUB 0.97", "GRUB reads EFI/BOOT/bootx64.conf"),
        ),
        # systemd-boot, a unified kernel image
        ({"EFI/BOOT/BOOTX64.EFI": efi.other()}, ("EFI/BOOT/BOOTX64.EFI is an EFI program",)),
        ({"EFI/BOOT/BOOTX64.EFI": bytes(17 << 20)}, ("EFI/BOOT/BOOTX64.EFI is an EFI program",)),
    ],
)
def test_boots(files: Files, reasons: tuple[str, ...]) -> None:
    assert gen2(on_esp(files)) == (True, reasons)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "there is no EFI/BOOT/BOOTX64.EFI, the only loader that a VM without boot entries starts"),
        ({"EFI/debian/grubx64.efi": DEBIAN_GRUB}, "there is no EFI/BOOT/BOOTX64.EFI, "),
        ({"EFI/BOOT/BOOTX64.EFI": folder()}, "EFI/BOOT/BOOTX64.EFI is no EFI program, or is cut short"),
        (
            {"EFI/BOOT/BOOTX64.EFI": efi.shim()[:300]},
            "EFI/BOOT/BOOTX64.EFI is no EFI program, or is cut short",
        ),
        ({"EFI/BOOT/BOOTX64.EFI": efi.other(machine=efi.IA32)}, "is made for ia32, the guest for x64"),
        (
            {"EFI/BOOT/BOOTX64.EFI": efi.shim()},
            "needs a loader beside it; there is neither grubx64.efi nor fbx64.efi",
        ),
        (
            {"EFI/BOOT/BOOTX64.EFI": efi.shim(), "EFI/BOOT/grubx64.efi": b"damaged"},
            "EFI/BOOT/grubx64.efi is no EFI program, or is cut short",
        ),
        (
            {"EFI/BOOT/BOOTX64.EFI": efi.shim(), "EFI/BOOT/fbx64.efi": efi.other()},
            "it makes boot entries from EFI/*/BOOTX64.CSV, and no loader named there exists",
        ),
        (
            {
                "EFI/BOOT/BOOTX64.EFI": efi.shim(),
                "EFI/BOOT/fbx64.efi": efi.other(),
                "EFI/ubuntu/BOOTX64.CSV": CSV,
            },
            "and no loader named there exists",
        ),
        (
            {
                "EFI/BOOT/BOOTX64.EFI": efi.shim(),
                "EFI/BOOT/fbx64.efi": efi.other(),
                "EFI/ubuntu/BOOTX64.CSV": CSV,
                "EFI/ubuntu/shimx64.efi": efi.shim(),
            },
            "EFI/ubuntu/shimx64.efi is shim and needs a loader beside it; there is no grubx64.efi",
        ),
        (
            {"EFI/BOOT/BOOTX64.EFI": DEBIAN_GRUB},
            "GRUB looks for EFI/BOOT/grub.cfg or EFI/debian/grub.cfg and finds nothing",
        ),
        ({"EFI/BOOT/BOOTX64.EFI": efi.grub("/grub")}, "GRUB looks for grub/grub.cfg and finds nothing"),
        (
            {"EFI/BOOT/BOOTX64.EFI": efi.grub_legacy()},
            "GRUB looks for EFI/BOOT/BOOTX64.conf and finds nothing",
        ),
    ],
)
def test_does_not_boot(files: Files, reason: str) -> None:
    possible, reasons = gen2(on_esp(files))
    assert not possible
    assert reason in reasons[-1]


def test_no_system_partition() -> None:
    assert gen2({}, Storage("gpt", (ESP,))) == (False, ("there is no EFI system partition",))


def test_a_system_partition_with_something_else_in_it() -> None:
    ext4 = Filesystem("/dev/sda1", "ext4", partition=1)
    assert gen2({}, Storage("gpt", (ext4,), esp=1))[1] == (
        "partition 1 is an EFI system partition, and holds ext4",
    )
    assert gen2({}, Storage("gpt", (), esp=1))[1] == (
        "partition 1 is an EFI system partition, and holds no file system",
    )


def test_a_system_partition_that_fstab_leaves_out() -> None:
    nowhere = Filesystem("/dev/sda1", "vfat", partition=1)
    assert gen2({}, Storage("gpt", (nowhere,), esp=1)) == (
        False,
        ("fstab does not mount the EFI system partition (/dev/sda1): not looked at",),
    )
    files = on_esp({"EFI/BOOT/BOOTX64.EFI": efi.other()})
    assert gen2(files, Storage("gpt", (ESP,), esp=1, unlisted=("/boot/efi",))) == (
        True,
        (
            "fstab does not mount the EFI system partition (/dev/sda1), imgfix looked at it",
            "EFI/BOOT/BOOTX64.EFI is an EFI program",
        ),
    )


def test_the_machine() -> None:
    arm: Files = {"/lib": link("usr/lib"), "/usr/lib/ld-linux-aarch64.so.1": ""}
    assert machine_of(FakeTree(arm)) == "aa64"
    assert machine_of(FakeTree({"/lib64/ld-linux-x86-64.so.2": ""})) == "x64"
    files: Files = {**arm, **on_esp({"EFI/BOOT/BOOTX64.EFI": efi.other()})}
    found = read_generations(FakeTree(files), Storage("gpt", (ESP,), esp=1))
    assert found.gen1 == Verdict(False, ("Azure's arm64 VMs are Generation 2",))
    assert found.gen2.reasons[0].startswith("there is no EFI/BOOT/BOOTAA64.EFI")
    files |= on_esp({"EFI/BOOT/BOOTAA64.EFI": efi.other(machine=efi.AA64)})
    assert gen2(files)[0]


def test_names_are_found_in_any_case() -> None:
    tree = FakeTree({"/efi/Efi/Boot/x.EFI": "", "/efi/Efi/VENDOR/a": "", "/efi/Efi/file": ""})
    assert find(tree, "/efi", "EFI/BOOT/X.efi") == "/efi/Efi/Boot/x.EFI"
    assert find(tree, "/efi", "EFI/BOOT/y.efi") is None
    assert vendor_folders(tree, "/efi") == ("/efi/Efi/VENDOR",)
    assert vendor_folders(FakeTree({}), "/efi") == ()
