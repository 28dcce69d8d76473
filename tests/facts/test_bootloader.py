from __future__ import annotations

import pytest

from imgfix.facts.bootloader import GrubConfig, read_bootloader
from imgfix.facts.model import Storage
from tests.fake_tree import FakeEntry, FakeTree, link

ESP = Storage(scheme="gpt", filesystems=(), has_esp=True)
NO_ESP = Storage(scheme="mbr", filesystems=())
STUB = "search --fs-uuid --set=dev 1-2\nset prefix=($dev)/grub2\nconfigfile $prefix/grub.cfg\n"


def test_a_menu_and_its_stub() -> None:
    tree = FakeTree({"/boot/grub2/grub.cfg": "blscfg\n", "/boot/efi/EFI/fedora/grub.cfg": STUB})
    found = read_bootloader(tree, ESP)
    assert found.grub2 == (
        GrubConfig("/boot/grub2/grub.cfg", False, None),
        GrubConfig("/boot/efi/EFI/fedora/grub.cfg", True, "$prefix/grub.cfg"),
    )
    assert found.menus == found.grub2[:1]
    assert found.is_editable
    assert read_bootloader(tree, NO_ESP).grub2 == found.grub2[:1]


def test_each_file_once() -> None:
    tree = FakeTree(
        {
            "/boot/grub/grub.cfg": "menuentry x {\n",
            "/boot/grub2": link("grub"),
            "/boot/efi/EFI/redhat": link("../../grub"),
        }
    )
    assert [config.path for config in read_bootloader(tree, ESP).grub2] == ["/boot/grub/grub.cfg"]


@pytest.mark.parametrize("folder", ["/boot/efi/EFI", "/boot/efi/efi", "/efi/EFI", "/boot/EFI"])
def test_wherever_the_esp_is(folder: str) -> None:
    tree = FakeTree({f"{folder}/x/grub.cfg": "blscfg\n", f"{folder}/Linux/a.efi": "MZ"})
    found = read_bootloader(tree, ESP)
    assert found.menus == (GrubConfig(f"{folder}/x/grub.cfg", True, None),)
    assert found.unified == (f"{folder}/Linux/a.efi",)


def test_grub_legacy_by_its_links() -> None:
    files: dict[str, str | FakeEntry] = {
        "/boot/grub/grub.conf": "title x\n",
        "/boot/grub/menu.lst": link("./grub.conf"),
        "/etc/grub.conf": link("../boot/grub/grub.conf"),
    }
    found = read_bootloader(FakeTree(files), NO_ESP)
    assert found.legacy == ("/boot/grub/grub.conf",)
    assert found.is_editable
    assert not found.grub2
    assert read_bootloader(FakeTree(files | {"/boot/grub/grub.cfg": "blscfg"}), NO_ESP).legacy == ()
    efi = read_bootloader(
        FakeTree(
            {
                "/etc/grub.conf": link("../boot/efi/EFI/redhat/grub.conf"),
                "/boot/efi/EFI/redhat/grub.conf": "x",
            }
        ),
        ESP,
    )
    assert efi.legacy == ("/boot/efi/EFI/redhat/grub.conf",)


def test_systemd_boot_and_its_entries() -> None:
    tree = FakeTree({"/efi/loader/loader.conf": "timeout 3\n", "/efi/loader/entries/a.conf": "linux /a\n"})
    found = read_bootloader(tree, ESP)
    assert found.systemd_boot
    assert found.entries == ("/efi/loader/entries/a.conf",)
    assert found.is_editable
    assert read_bootloader(FakeTree({"/boot/efi/EFI/systemd/systemd-bootx64.efi": "MZ"}), ESP).systemd_boot


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/boot/extlinux/extlinux.conf", "EXTLINUX"),
        ("/etc/lilo.conf", "LILO"),
        ("/boot/efi/efi/SuSE/elilo.conf", "ELILO"),
        ("/etc/zipl.conf", "zipl"),
    ],
)
def test_others(path: str, name: str) -> None:
    found = read_bootloader(FakeTree({path: "x"}), ESP)
    assert found.others == ((name, path),)
    assert not found.is_editable


def test_generator() -> None:
    assert read_bootloader(FakeTree({}), ESP).generator is None
    assert (
        read_bootloader(FakeTree({"/usr/bin/grub-mkconfig": "x"}), ESP).generator == "/usr/bin/grub-mkconfig"
    )
