"""Checks that hold for the result of every apply, whatever the guest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.boot import ADDRESS
from tests.disks import image
from tests.guests.result import shell
from tests.guests.workshop import Applied, Run, imgfix, sha256

MIB = 1 << 20


def source_is_untouched(done: Applied) -> None:
    """The source has the bytes it had."""
    assert sha256(done.source) == done.sha256


def is_a_fixed_vhd_of_whole_mib(vhd: Path) -> None:
    """qemu-img reads the footer, and takes the same size from it as the file has."""
    argv = ("qemu-img", "info", "-f", "vpc", "--output=json", str(vhd))
    info = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    assert info["virtual-size"] == vhd.stat().st_size - 512
    assert info["virtual-size"] % MIB == 0
    assert info["format-specific"]["data"]["subformat"] == "fixed" if "format-specific" in info else True
    with vhd.open("rb") as stream:
        stream.seek(-512, 2)
        footer = stream.read()
    assert footer[:8] == b"conectix"
    assert footer[60:64] == b"\0\0\0\2"


def partition_table_is_clean(vhd: Path, folder: Path) -> None:
    """sgdisk (GPT) or sfdisk (MBR) finds nothing to say about the disk in the VHD, its footer taken off."""
    disk = folder / "disk.raw"
    subprocess.run(("cp", "--sparse=always", "--reflink=auto", str(vhd), str(disk)), check=True)
    with disk.open("r+b") as stream:
        stream.truncate(vhd.stat().st_size - 512)
    with disk.open("rb") as stream:
        is_gpt = stream.read(1024)[512:520] == b"EFI PART"
    argv = ("sgdisk", "-v") if is_gpt else ("sfdisk", "--verify")
    done = subprocess.run((*argv, str(disk)), capture_output=True, text=True, check=True)
    disk.unlink()
    assert ("No problems found" if is_gpt else "No errors detected") in done.stdout, done.stdout


def file_systems_are_clean(handle: Any, devices: dict[str, str]) -> None:
    """fsck finds nothing; the result is unmounted for it and mounted again."""
    mounts = sorted(handle.mountpoints().items(), key=lambda pair: len(pair[1]))
    handle.umount_all()
    # udev may hold a device for a moment after it was unmounted, and some checkers open it exclusively.
    outputs = [
        str(
            handle.debug(
                "sh",
                [
                    f"udevadm settle --timeout=60; sleep 2; {argv} {image.renamed(handle, device)} 2>&1; echo status=$?"
                ],
            )
        )
        for device, argv in devices.items()
    ]
    for device, mountpoint in mounts:
        handle.mount(device, mountpoint)
    for output in outputs:
        assert output.strip().endswith("status=0"), output


def twice_is_once(done: Applied, profile: str, folder: Path, *settings: str) -> Run:
    """Applied again, nothing is left to do: one launch, no rebuild, the same bytes."""
    again = folder / "again.vhd"
    options = [word for setting in settings for word in ("--set", setting)]
    run = imgfix("apply", profile, done.vhd, "-o", again, *options, folder=folder)
    assert run.status == 0, run.stderr
    assert run.launches == 1
    assert "rebuilding" not in run.stderr
    assert "appending" not in run.stderr
    assert "changing the guest" not in run.stderr
    assert subprocess.run(("cmp", done.vhd, again), check=False).returncode == 0
    again.unlink()
    return run


def waagent_reads(handle: Any, values: dict[str, str]) -> None:
    """The agent's own configuration parser gives these values."""
    script = (
        "import azurelinuxagent.common.conf as c\n"
        "c.load_conf_from_file('/etc/waagent.conf')\n"
        f"for key in {sorted(values)!r}: print(key, c.__conf__.get(key, None), sep='=')\n"
    )
    handle.write("/tmp/read.py", script.encode())
    lines = shell(handle, "python3 /tmp/read.py").split("\n")
    assert dict(line.split("=", 1) for line in lines if "=" in line) == values


def cloud_init_reads(handle: Any) -> dict[str, Any]:
    """Return the configuration as the guest's own cloud-init merges it."""
    script = (
        "import json\n"
        "from cloudinit import stages\n"
        "init = stages.Init(ds_deps=[])\n"
        "init.read_cfg()\n"
        "print('merged:' + json.dumps(init.cfg))\n"
    )
    handle.write("/tmp/read.py", script.encode())
    output = shell(handle, "python3 /tmp/read.py")
    merged: dict[str, Any] = json.loads(output.split("merged:", 1)[1])
    return merged


def cloud_init_is_as_wanted(handle: Any) -> None:
    """Azure only, mounts and disk_setup in the init stage, output to tee."""
    merged = cloud_init_reads(handle)
    assert merged["datasource_list"] == ["Azure"]
    assert merged["datasource"]["Azure"]["apply_network_config"] is False
    assert merged["network"] == {"config": "disabled"}
    assert merged["output"] == {"all": "| tee -a /var/log/cloud-init-output.log"}
    assert {"mounts", "disk_setup"} <= set(merged["cloud_init_modules"])
    assert not {"mounts", "disk_setup"} & set(merged["cloud_config_modules"])


def ssh_server_accepts_its_configuration(handle: Any) -> None:
    """sshd -t, with the host keys that its unit makes first."""
    shell(handle, "mkdir -p /run/sshd; ssh-keygen -A >/dev/null; /usr/sbin/sshd -t")
    shell(handle, "rm -f /etc/ssh/ssh_host_*")


def fstab_is_accepted(handle: Any) -> None:
    """findmnt finds nothing wrong; it tells a clean file in either of two ways, by version."""
    verdict = shell(handle, "findmnt --verify --tab-file /etc/fstab || true")
    assert "no errors" in verdict or "0 parse errors, 0 errors" in verdict, verdict


def is_generalized(handle: Any, homes: list[str]) -> None:
    """No identity, no history, no host key; root is locked."""
    assert handle.cat("/etc/machine-id").strip() in ("", "uninitialized")
    assert not handle.glob_expand("/etc/ssh/ssh_host_*")
    for home in homes:
        assert not handle.exists(f"{home}/.bash_history"), home
    (root,) = [line for line in handle.read_lines("/etc/shadow") if line.startswith("root:")]
    assert root.split(":")[1].startswith(("*", "!"))
    assert not handle.exists("/etc/udev/rules.d/70-persistent-net.rules")
    assert not handle.exists("/usr/sbin/policy-rc.d")


def no_swap_is_left(handle: Any) -> None:
    """No swap device, file or reference."""
    assert "swap" not in handle.list_filesystems().values()
    lines = [line.split() for line in handle.read_lines("/etc/fstab") if line.strip() and line[0] != "#"]
    assert not [fields for fields in lines if fields[2] == "swap"]
    assert not handle.exists("/swapfile")


def _has_an_address_by_dhcp(vm: Any) -> None:
    """The first NIC, eth0, has the address that QEMU's DHCP server gives, and the guest no other card."""
    found = vm.check(
        "for i in $(seq 60); do ip -4 -o addr show dev eth0 | grep inet && break; sleep 2; done; ls /sys/class/net"
    )
    assert f" {ADDRESS}/24 " in found, found
    assert " dynamic " in found, found
    assert set(found.split("\n", 1)[1].split()) == {"eth0", "lo"}, found


def boots(vm: Any, wanted: list[str], unwanted: list[str]) -> str:
    """Log in on the serial console and ask the running guest: command line, swap, DHCP on eth0.

    Returns what systemctl --failed prints.
    """
    vm.login("tester", "tester")
    arguments = vm.check("cat /proc/cmdline").split()
    assert set(wanted) <= set(arguments), arguments
    assert not [a for a in arguments if a in unwanted or a.startswith("resume=")], arguments
    assert vm.check("cat /proc/swaps | tail -n +2 | wc -l").strip() == "0"
    _has_an_address_by_dhcp(vm)
    return str(vm.check("systemctl --failed --no-legend --plain | cat"))
