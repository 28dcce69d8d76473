"""Every "no" of the doctor, on made-up hosts; and the real host, without a launch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from imgfix import checkup
from imgfix.accel import Accelerator, Verdict
from imgfix.appliance import LaunchProbe
from imgfix.disk.qemu_img import Version
from imgfix.disk.size import GIB, MIB
from imgfix.doctor import REMEDIES, Finding, Host, diagnose, is_able
from imgfix.errors import HostError
from tests.schema import require_fit

KERNEL = "6.1.0-9-amd64"
WORKS = Verdict(Accelerator.KVM, "KVM works")


def fails(message: str) -> Callable[[], NoReturn]:
    """Return a probe that raises."""

    def probe() -> NoReturn:
        raise HostError(message)

    return probe


def put(root: Path, path: str, text: str = "") -> None:
    """Write a file of the made-up host."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A Debian on which everything works."""
    put(tmp_path, f"boot/vmlinuz-{KERNEL}")
    put(tmp_path, f"lib/modules/{KERNEL}/modules.dep")
    put(tmp_path, "usr/lib/x86_64-linux-gnu/guestfs/supermin.d/packages-xfs")
    put(tmp_path, "proc/meminfo", f"MemTotal: 9 kB\nMemAvailable:    {8 << 20} kB\n")
    (tmp_path / "var/tmp").mkdir(parents=True)
    return Host(
        root=tmp_path,
        environ={"USER": "tester"},
        machine="x86_64",
        manager="apt",
        versions=lambda: {"libguestfs": "1.50.1"},
        qemu=lambda: "/usr/bin/qemu-system-x86_64",
        qemu_img=lambda: (8, 2, 0),
        accelerator=lambda: WORKS,
        launch=lambda: LaunchProbe(True, "kvm", 3.14, "KVM works", ""),
        sandbox=lambda: None,
        free_bytes=lambda _: 20 * GIB,
        may_open=lambda _: True,
        may_read=lambda _: True,
    )


def finding(host: Host, name: str, *, launch: bool = True) -> Finding:
    """Return the one finding of that name."""
    (found,) = (f for f in diagnose(launch, host) if f.name == name)
    return found


def test_all_is_well(host: Host) -> None:
    findings = diagnose(host=host)
    assert [f.name for f in findings if f.ok is not True or f.remedy] == []
    assert is_able(findings)
    assert finding(host, "launch").detail == "an appliance starts in 3.1 s (kvm)"


def test_every_no_and_every_warning_has_a_remedy_for_each_host(host: Host) -> None:
    for manager in ("apt", "dnf", ""):
        bad = replace(
            host,
            manager=manager,
            root=host.root / "void",
            versions=fails("no bindings"),
            qemu=fails("no qemu"),
            qemu_img=fails("no qemu-img"),
            accelerator=fails("no qemu"),
        )
        findings = diagnose(host=bad)
        assert not is_able(findings)
        assert [f.name for f in findings if f.ok is False] == [
            "bindings",
            "qemu",
            "qemu-img",
            "kernel",
            "cache",
        ]
        assert [f.name for f in findings if f.ok is not True and not f.remedy] == []
        assert [f.name for f in findings if "{" in f.remedy] == []


@pytest.mark.parametrize(
    ("manager", "remedy"),
    [("apt", "apt-get install python3-guestfs"), ("dnf", "dnf install python3-libguestfs")],
)
def test_no_bindings(host: Host, manager: str, remedy: str) -> None:
    found = finding(replace(host, manager=manager, versions=fails("cannot be loaded")), "bindings")
    assert found == Finding("bindings", False, "cannot be loaded", remedy)


def test_bindings_of_another_python(host: Host) -> None:
    put(host.root, "usr/lib/python3/dist-packages/guestfs.py")
    found = finding(replace(host, versions=fails("cannot be loaded")), "bindings")
    assert "another Python" in found.detail
    assert "scripts/imgfix" in found.remedy


@pytest.mark.parametrize(
    ("machine", "package"), [("x86_64", "qemu-system-x86"), ("aarch64", "qemu-system-arm")]
)
def test_no_qemu(host: Host, machine: str, package: str) -> None:
    found = finding(replace(host, machine=machine, qemu=fails("not installed")), "qemu")
    assert found == Finding("qemu", False, "not installed", f"apt-get install {package}")


@pytest.mark.parametrize(
    ("probe", "remedy"),
    [
        (fails("not installed"), "apt-get install qemu-utils"),
        (lambda: (2, 5, 0), "install qemu-img 2.6 or later"),
    ],
)
def test_qemu_img_missing_or_known_to_be_bad(host: Host, probe: Callable[[], Version], remedy: str) -> None:
    found = finding(replace(host, qemu_img=probe), "qemu-img")
    assert (found.ok, found.remedy) == (False, remedy)


def test_no_kernel(host: Host) -> None:
    (host.root / f"boot/vmlinuz-{KERNEL}").unlink()
    found = finding(host, "kernel")
    assert found.ok is False
    assert "linux-image-cloud-amd64 (Debian)" in found.remedy


def test_kernel_in_lib_modules(host: Host) -> None:
    (host.root / f"boot/vmlinuz-{KERNEL}").unlink()
    put(host.root, f"lib/modules/{KERNEL}/vmlinuz")
    assert finding(host, "kernel").ok


def test_kernel_without_modules(host: Host) -> None:
    (host.root / f"boot/vmlinuz-{KERNEL}").rename(host.root / "boot/vmlinuz-5.0")
    found = finding(host, "kernel")
    assert found.ok is False
    assert "no modules" in found.detail


def test_unreadable_kernel_as_on_ubuntu(host: Host) -> None:
    found = finding(replace(host, may_read=lambda _: False), "kernel")
    assert found.ok is False
    assert found.remedy.startswith(f"chmod 0644 {host.root}/boot/vmlinuz-{KERNEL} (as root")


def test_kernel_named_by_the_user(host: Host) -> None:
    named = replace(host, environ={"SUPERMIN_KERNEL": "/k"}, root=host.root / "void")
    assert finding(named, "kernel").ok
    found = finding(replace(named, may_read=lambda _: False), "kernel")
    assert found.ok is False
    assert "SUPERMIN_KERNEL" in found.remedy


def test_fixed_appliance_needs_no_kernel(host: Host, tmp_path: Path) -> None:
    put(tmp_path, "fixed/README.fixed")
    fixed = replace(host, environ={"LIBGUESTFS_PATH": f"/nowhere:{tmp_path}/fixed"}, root=host.root / "void")
    assert finding(fixed, "kernel").ok
    assert finding(fixed, "xfs").ok


def test_no_xfs_is_a_warning(host: Host) -> None:
    (host.root / "usr/lib/x86_64-linux-gnu/guestfs/supermin.d/packages-xfs").unlink()
    found = finding(host, "xfs")
    assert (found.ok, found.remedy) == (None, "apt-get install libguestfs-xfs")
    assert is_able(diagnose(host=host))


def test_no_space_for_the_appliance_comes_in_both_numbers(host: Host) -> None:
    full = replace(host, free_bytes=lambda _: 31 * MIB)
    found = finding(full, "cache")
    assert found.ok is False
    assert "31 MiB free" in found.detail
    assert "1.00 GiB needed" in found.detail
    assert "LIBGUESTFS_CACHEDIR" in found.remedy


@pytest.mark.parametrize("variable", ["LIBGUESTFS_CACHEDIR", "TMPDIR"])
def test_cache_folder_of_the_environment(host: Host, tmp_path: Path, variable: str) -> None:
    assert str(tmp_path) in finding(replace(host, environ={variable: str(tmp_path)}), "cache").detail
    assert finding(replace(host, environ={variable: "/does/not/exist"}), "cache").ok is False


def test_cache_folder_that_may_not_be_written(host: Host) -> None:
    found = finding(replace(host, may_open=lambda _: False), "cache")
    assert (found.ok, "may write" in found.remedy) == (False, True)


@pytest.mark.parametrize(("free", "ok"), [(4 * GIB, True), (GIB, None), (300 * MIB, False)])
@pytest.mark.parametrize("source", ["meminfo", "cgroup"])
def test_memory(host: Host, source: str, free: int, ok: bool | None) -> None:
    if source == "meminfo":
        put(host.root, "proc/meminfo", f"MemAvailable: {free >> 10} kB\n")
    else:
        put(host.root, "sys/fs/cgroup/memory.max", f"{free + 5}\n")
        put(host.root, "sys/fs/cgroup/memory.current", "5\n")
    found = finding(host, "memory")
    assert found.ok is ok
    assert "needed" in found.detail


def test_memory_without_a_limit(host: Host) -> None:
    put(host.root, "sys/fs/cgroup/memory.max", "max\n")
    put(host.root, "sys/fs/cgroup/memory.current", "5\n")
    assert finding(host, "memory").ok


@pytest.mark.parametrize(
    ("path", "text", "word"),
    [
        ("run/.containerenv", "", "podman"),
        (".dockerenv", "", "docker"),
        ("run/systemd/container", "lxc\n", "lxc"),
    ],
)
def test_container_is_told(host: Host, path: str, text: str, word: str) -> None:
    put(host.root, path, text)
    found = finding(host, "container")
    assert found.ok
    assert word in found.detail


def test_launch_that_fails(host: Host) -> None:
    dead = replace(host, launch=lambda: LaunchProbe(False, "", 60.0, "running without KVM", "it died"))
    found = finding(dead, "launch")
    assert (found.ok, found.detail) == (False, "it died (running without KVM)")
    assert "LIBGUESTFS_DEBUG" in found.remedy


def test_no_launch_where_something_is_missing(host: Host) -> None:
    def launch() -> LaunchProbe:
        raise AssertionError("launched")

    found = finding(replace(host, launch=launch, qemu=fails("not installed")), "launch")
    assert (found.ok, found.remedy) == (None, "first mend: qemu")


def test_no_launch_if_not_asked_for(host: Host) -> None:
    assert "launch" not in {f.name for f in diagnose(launch=False, host=host)}


def test_kvm_is_asked_after_the_launch(host: Host) -> None:
    """A launch that fails under KVM makes the verdict."""
    verdicts = [WORKS]

    def launch() -> LaunchProbe:
        verdicts.append(Verdict(Accelerator.TCG, "it hangs"))
        return LaunchProbe(True, "tcg", 9.0, "it hangs", "")

    assert finding(replace(host, launch=launch, accelerator=lambda: verdicts[-1]), "kvm").ok is None


@pytest.mark.parametrize(
    ("device", "may_open", "environ", "word"),
    [
        (None, True, {}, "--device /dev/kvm"),
        ("/dev/null", False, {"USER": "tester"}, "usermod -aG kvm tester"),
        ("/dev/null", True, {}, "nested virtualization mended"),
        (
            "/dev/null",
            True,
            {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"},
            "unset LIBGUESTFS_BACKEND_SETTINGS",
        ),
    ],
    ids=["absent", "forbidden", "broken", "forced"],
)
def test_kvm_that_does_not_work_is_a_warning(
    host: Host, device: str | None, may_open: bool, environ: Mapping[str, str], word: str
) -> None:
    if device:
        (host.root / "dev").mkdir()
        (host.root / "dev/kvm").symlink_to(device)
    slow = replace(
        host,
        accelerator=lambda: Verdict(Accelerator.TCG, "because"),
        may_open=lambda path: may_open or path.name != "kvm",
        environ=environ,
    )
    found = finding(slow, "kvm")
    assert found.ok is None
    assert "because; the appliance is emulated" in found.detail
    assert word in found.remedy
    assert is_able(diagnose(host=slow))


def test_every_remedy_is_complete() -> None:
    assert [key for key, row in REMEDIES.items() if not (row.apt and row.dnf and row.other)] == []


def test_this_host() -> None:
    """The tests run where imgfix does: Python, the bindings and qemu-img at least are there."""
    findings = {f.name: f for f in diagnose(launch=False)}
    assert [name for name in ("python", "bindings", "qemu-img") if not findings[name].ok] == []
    assert all(f.detail for f in findings.values())


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    able = checkup.show(launch=False, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    require_fit("doctor", printed)
    assert printed["able"] is able
    assert [a["name"] for a in printed["answers"]] == [f.name for f in diagnose(launch=False)]
