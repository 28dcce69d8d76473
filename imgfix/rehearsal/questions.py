"""What the rehearsal asks a guest that it could log in to, and what the answers are worth. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imgfix.rehearsal.identity import Identity

_BEGIN = "@@imgfix "

#: By name; each runs as root in a shell of its own. Nothing that they need may be missing from a minimal guest. The
#: first two wait for the end of the boot: the user may be there minutes before cloud-init has written its result.
COMMANDS = {
    "cloud-init": "command -v cloud-init >/dev/null && timeout 240 cloud-init status --long --wait 2>&1",
    "settled": "timeout 120 systemctl is-system-running --wait 2>/dev/null",
    "kernel": "uname -r",
    "command line": "cat /proc/cmdline",
    "user": "echo $SUDO_USER",
    "host name": "hostname",
    "datasource": "cat /run/cloud-init/cloud-id /run/cloud-init/result.json /run/cloud-init/status.json 2>/dev/null",
    "systemd": "systemctl --version 2>/dev/null | head -n 1",
    "agent": "systemctl is-active walinuxagent.service waagent.service 2>/dev/null; waagent --version 2>/dev/null",
    "swap": "cat /proc/swaps",
    "mounts": "cat /proc/mounts",
    "resource disk": "readlink -f /dev/disk/cloud/azure_resource 2>/dev/null",
    "failed units": "systemctl --failed --no-legend --plain 2>/dev/null",
    "why units failed": "for u in $(systemctl --failed --no-legend --plain 2>/dev/null | cut -d' ' -f1); do "
    'echo "$u:"; journalctl -b -n 8 --no-pager -o cat -u "$u" 2>/dev/null; done',
    "host keys": "for k in /etc/ssh/ssh_host_*_key.pub; do echo \"$(stat -c %Y $k) $(ssh-keygen -lf $k)\"; done",
    "machine id": "stat -c %Y /etc/machine-id; cat /etc/machine-id",
    "boot time": "stat -c %Y /proc/1; awk '/^btime/ {print $2}' /proc/stat",
    "root size": "df -B1 --output=source,size,avail / | tail -n 1; lsblk -bnso NAME,TYPE,SIZE $(df --output=source / | "
    "tail -n 1) 2>/dev/null",
    "clock": "date -u +%s; cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
    "analyze": "systemd-analyze 2>&1 | head -n 2; systemd-analyze blame 2>/dev/null | head -n 5",
    "gateway": "ip route show default 2>/dev/null",
    "virtualization": "systemd-detect-virt",
    "modules": "for m in hv_vmbus hv_storvsc hv_netvsc; do modprobe -n $m >/dev/null 2>&1 && echo $m; done",
}  # fmt: skip

#: Has the guest make its initramfs images anew by its own generator, and lists the drivers in each of them.
KERNEL_UPDATE = r"""
set -u
if command -v update-initramfs >/dev/null; then
  update-initramfs -u -k all >/tmp/.rehearsal 2>&1; status=$?; list=lsinitramfs
elif command -v dracut >/dev/null; then
  dracut --force --regenerate-all >/tmp/.rehearsal 2>&1; status=$?; list=lsinitrd
elif command -v mkinitrd >/dev/null; then
  mkinitrd >/tmp/.rehearsal 2>&1; status=$?; list=lsinitrd
else
  echo "no generator"; exit 0
fi
echo "status $status"
[ $status -eq 0 ] || tail -n 5 /tmp/.rehearsal
for folder in /lib/modules/*/; do
  release=$(basename $folder)
  for image in /boot/initrd.img-$release /boot/initramfs-$release.img /boot/initrd-$release; do
    [ -f $image ] || continue
    $list $image >/tmp/.rehearsal-list 2>/dev/null
    found=
    for module in hv_vmbus hv_storvsc hv_netvsc; do
      if grep -q "/$module\.ko" /tmp/.rehearsal-list || grep -q "/$module\.ko" $folder/modules.builtin; then
        found="$found $module"
      fi
    done
    echo "image $image$found"
  done
done
rm -f /tmp/.rehearsal /tmp/.rehearsal-list
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the guest is found to be. `ok`: True, False (not ready for Azure), None (worth a look)."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the image was meant for; None where the rehearsal does not know."""

    identity: Identity
    agent: str | None
    provisioned: bool
    grown: bool
    resource_disk: bool
    swap_on_resource_disk: bool | None = None
    #: seconds since 1970 at the start of the machine
    started: float = 0.0
    emulated: bool = False


def script(commands: dict[str, str] | None = None) -> str:
    """Return the shell script that asks everything, for a user who may use sudo, or for root."""
    asked = commands if commands is not None else COMMANDS
    lines = [f"printf '\\n{_BEGIN}%s\\n' '{name}'\n( {command}\n) 2>&1" for name, command in asked.items()]
    body = "\n".join([*lines, f"printf '\\n{_BEGIN}%s\\n' end"])
    return "\n".join(
        (
            f"printf '\\n{_BEGIN}in\\n'",
            'if [ "$(id -u)" = 0 ]; then run="/bin/sh -s"; else run="sudo -n /bin/sh -s"; fi',
            "$run <<'IMGFIX-END'",
            # behind sudo, which hands no environment on
            "export LC_ALL=C SYSTEMD_COLORS=0 PATH=$PATH:/usr/sbin:/sbin",
            body,
            "IMGFIX-END",
        )
    )


def parse(output: str) -> dict[str, str]:
    """Return the answers by name; an output that was cut short has no `end` and is short of answers."""
    found: dict[str, str] = {}
    for part in output.split(f"\n{_BEGIN}")[1:]:
        name, _, text = part.partition("\n")
        found[name] = text.strip()
    return found


def judge(answers: dict[str, str], expected: Expected) -> Iterator[Answer]:
    """Judge the answers one by one."""
    if "in" not in answers:
        yield Answer("questions", False, "the user was let in once, and then no more", "look at sshd's log")
        return
    if "end" not in answers:
        yield Answer(
            "sudo", False, "the user cannot run commands as root", "look at sudoers: sudo -n must work"
        )
        return
    for look in _LOOKS:
        yield from look(answers, expected)


def _plain(answers: dict[str, str], _: Expected) -> Iterator[Answer]:
    yield Answer("kernel", True, f"{answers['kernel']}: {answers['command line']}")
    yield Answer(
        "boot", True, answers["analyze"].splitlines()[0] if answers["analyze"] else "no systemd-analyze"
    )
    if answers["gateway"]:
        yield Answer("network", True, answers["gateway"].splitlines()[0])


def _host_name(answers: dict[str, str], expected: Expected) -> Iterator[Answer]:
    name, wanted = answers["host name"], expected.identity.host_name
    if not expected.provisioned:
        yield Answer("host name", True, f"{name}, its own")
        return
    is_set = name.split(".")[0] == wanted
    yield Answer(
        "host name", is_set, f"{name}, {wanted} wanted", "" if is_set else "who sets it? provisioning.agent"
    )


def _cloud_init(answers: dict[str, str], expected: Expected) -> Iterator[Answer]:
    status = answers["cloud-init"]
    if not expected.provisioned or expected.agent == "waagent":
        return
    source = re.search(r"DataSource(\w+)", answers["datasource"])
    name = source[1] if source else answers["datasource"].split("\n")[0] or "none"
    yield Answer(
        "datasource",
        name.lower() == "azure",
        f"cloud-init's datasource is {name}",
        "" if name.lower() == "azure" else "cloud_init.datasources: [Azure]",
    )
    word = re.search(r"^status: (\w+)", status, re.MULTILINE)
    said = " ".join(status.split())
    if word is None:
        yield Answer("cloud-init", None, f"its status is unknown: {said[:200] or 'no answer'}")
    else:
        errors = re.search(
            r"^errors:\s*(.+?)(?=^\w|\Z)|^detail:\s*(.+?)(?=^\w|\Z)", status, re.MULTILINE | re.DOTALL
        )
        is_done = word[1] == "done"
        detail = (
            f"status {word[1]}"
            if is_done
            else f"status {word[1]}: {' '.join(errors[0].split()) if errors else said}"
        )
        yield Answer(
            "cloud-init", is_done, detail[:400], "" if is_done else "cloud-init.log in the guest says why"
        )


def _agent(answers: dict[str, str], expected: Expected) -> Iterator[Answer]:
    states = re.findall(r"^(active|activating|inactive|failed|unknown)$", answers["agent"], re.MULTILINE)
    version = re.search(r"WALinuxAgent-(\S+)", answers["agent"])
    what = f"Azure Linux Agent {version[1]}" if version else "Azure Linux Agent"
    if "active" in states or "activating" in states:
        yield Answer("agent", True, f"{what} runs")
    else:
        is_needed = expected.agent == "waagent"
        yield Answer(
            "agent",
            False if is_needed else None,
            f"{what} does not run: no VM extension will work",
            "services.enable: Azure Linux Agent",
        )


#: The systemd that makes the link by which the guest knows its resource disk; see rehearsal.credentials.
_TAKES_CREDENTIALS = 252


def _resource_disk(answers: dict[str, str], expected: Expected) -> Iterator[Answer]:
    disk = answers["resource disk"]
    swaps = [line.split()[0] for line in answers["swap"].splitlines()[1:] if line.strip()]
    places = {
        fields[1]: fields[0] for line in answers["mounts"].splitlines() if len(fields := line.split()) > 1
    }
    mounted = {place: device for place, device in places.items() if disk and device.startswith(disk)}
    if expected.resource_disk and expected.agent == "cloud-init":
        place, device = next(iter(mounted.items()), ("", ""))
        systemd = re.match(r"systemd (\d+)", answers["systemd"])
        if place:
            yield Answer("resource disk", True, f"{device} on {place}")
        elif not disk and systemd and int(systemd[1]) < _TAKES_CREDENTIALS:
            yield Answer(
                "resource disk",
                None,
                f"cannot be rehearsed with systemd {systemd[1]}, which takes no link of ours: on Azure udev makes it. "
                "cloud-init has waited two minutes for it",
            )
        else:
            remedy = "cloud_init.init_modules: [disk_setup, mounts]"
            yield Answer("resource disk", None, "not mounted by cloud-init", remedy)
    inside = [swap for swap in swaps if not _is_on(swap, disk, mounted)]
    if inside:
        yield Answer("swap", False, f"swap on the OS disk: {', '.join(inside)}", "swap.remove: true")
    elif expected.swap_on_resource_disk and expected.resource_disk and expected.agent == "cloud-init":
        yield Answer("swap", bool(swaps), f"on the resource disk: {', '.join(swaps) or 'none'}",
                     "" if swaps else "swap.resource_disk")  # fmt: skip
    else:
        yield Answer("swap", True, f"none on the OS disk{': ' + ', '.join(swaps) if swaps else ''}")


def _is_on(swap: str, disk: str, mounted: dict[str, str]) -> bool:
    return bool(disk) and (swap.startswith(disk) or any(swap.startswith(f"{place}/") for place in mounted))


def _units(answers: dict[str, str], _: Expected) -> Iterator[Answer]:
    failed = [line.split()[0] for line in answers["failed units"].splitlines() if line.strip()]
    if not failed:
        yield Answer("units", True, "none has failed")
        return
    why = "; ".join(line for line in answers["why units failed"].splitlines() if line.strip())
    yield Answer("units", None, f"failed: {', '.join(failed)} ({why[:300]})", "systemctl status shows each")


def _fresh(answers: dict[str, str], expected: Expected) -> Iterator[Answer]:
    """Host keys and machine id are made at the first boot of a generalized image, not brought along."""
    booted = int(answers["boot time"].split()[-1]) if answers["boot time"].split() else 0
    ages = [
        int(line.split()[0])
        for line in answers["host keys"].splitlines()
        if line.split()[:1] and line[0].isdigit()
    ]
    for name, times, what in (
        ("host keys", ages, f"{len(ages)} host keys"),
        ("machine id", [int(n) for n in answers["machine id"].splitlines()[:1] if n.isdigit()], "machine id"),
    ):
        is_fresh = bool(times) and min(times) >= booted - 120
        if not expected.provisioned:
            yield Answer(
                name, bool(times), f"{what}, {'made at this boot' if is_fresh else 'the image had them'}"
            )
        else:
            yield Answer(
                name,
                is_fresh,
                f"{what}, {'made at this boot' if is_fresh else 'older than this boot' if times else 'missing'}",
                "" if is_fresh else "generalize.remove, generalize.machine_id: every VM would have the same",
            )


def _not_grown(source: str, agent: str | None) -> str:
    if agent == "waagent":
        return "the Azure Linux Agent grows nothing: let cloud-init provision, or grow it in each VM (first_boot)"
    if source.startswith("/dev/mapper/"):
        return "cloud-init grows no logical volume: lvextend -r in each VM (first_boot), or in the source"
    return "does a partition lie behind it? else growpart and resize2fs or xfs_growfs: packages.add cloud-guest-utils"


def _growth(answers: dict[str, str], expected: Expected) -> Iterator[Answer]:
    fields = answers["root size"].splitlines()
    if not fields or len(fields[0].split()) < 3:
        return
    source, size, _ = fields[0].split()[:3]
    disks = [line.split()[-1] for line in fields[1:] if " disk " in f" {' '.join(line.split()[-2:])} "]
    disk = max((int(number) for number in disks if number.isdigit()), default=0)
    said = f"{source}: {int(size) / (1 << 30):.1f} GiB of a disk of {disk / (1 << 30):.1f} GiB"
    if not expected.grown or not disk:
        yield Answer("root size", True, said)
        return
    has_grown = int(size) > disk * 0.8 or disk - int(size) < (1 << 30) * 0.9
    yield Answer(
        "root size",
        True if has_grown else None,
        f"{said}, {'grown' if has_grown else 'not grown: the disk was made 1 GiB larger'}",
        "" if has_grown else _not_grown(source, expected.agent),
    )


def _clock(answers: dict[str, str], expected: Expected) -> Iterator[Answer]:
    now = answers["clock"].split()
    if now and now[0].isdigit():
        yield Answer("clock", True, f"source {now[-1]}; the emulated clock runs behind" if expected.emulated else
                     f"source {now[-1]}")  # fmt: skip


def _drivers(answers: dict[str, str], _: Expected) -> Iterator[Answer]:
    have = answers["modules"].split()
    missing = [name for name in ("hv_vmbus", "hv_storvsc", "hv_netvsc") if name not in have]
    yield Answer(
        "drivers",
        not missing,
        "the running kernel can load hv_vmbus, hv_storvsc and hv_netvsc" if not missing else
        f"the running kernel cannot load {', '.join(missing)}",
        "" if not missing else "kernel_modules.required",
    )  # fmt: skip


_LOOKS: tuple[Callable[[dict[str, str], Expected], Iterator[Answer]], ...] = (
    _plain,
    _host_name,
    _cloud_init,
    _agent,
    _resource_disk,
    _units,
    _fresh,
    _growth,
    _clock,
    _drivers,
)


def serial_console(*, kernel: bool, login: bool) -> Answer:
    """Judge what was on the serial port: Azure shows nothing else of a VM that does not come up."""
    if not kernel:
        remedy = "kernel_args.add: [console=ttyS0, earlyprintk=ttyS0]"
        return Answer("serial console", False, "the kernel writes nothing to ttyS0", remedy)
    if not login:
        remedy = "services.serial_console: ttyS0"
        return Answer(
            "serial console", None, "the kernel writes to ttyS0, and no login prompt came there", remedy
        )
    return Answer("serial console", True, "the kernel and a login prompt are on ttyS0")


def kept(first: dict[str, str], second: dict[str, str]) -> Iterator[Answer]:
    """Judge what a second boot must not have changed."""
    for name in ("host keys", "machine id", "host name"):
        is_kept = first.get(name) == second.get(name)
        yield Answer(
            f"second boot: {name}",
            is_kept,
            "the same as at the first boot" if is_kept else "not the same as at the first boot",
            "" if is_kept else "something makes it anew at every boot",
        )


def judge_update(output: str) -> Iterator[Answer]:
    """Judge what the guest's own initramfs generator made."""
    if "no generator" in output:
        yield Answer("kernel update", None, "the guest has no generator of initramfs images")
        return
    status = re.search(r"^status (\d+)$", output, re.MULTILINE)
    if status is None or status[1] != "0":
        yield Answer("kernel update", False, f"the generator failed: {' '.join(output.split())[:300]}")
        return
    for line in re.findall(r"^image (.+)$", output, re.MULTILINE):
        path, *found = line.split()
        missing = [name for name in ("hv_vmbus", "hv_storvsc", "hv_netvsc") if name not in found]
        yield Answer(
            "kernel update",
            not missing,
            f"{path} made anew "
            + ("holds the Hyper-V drivers" if not missing else f"lacks {', '.join(missing)}"),
            "" if not missing else "initramfs.drivers: the generator's own configuration does not name them",
        )
