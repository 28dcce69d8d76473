"""The KVM probe against QEMUs that behave as broken hosts make them behave."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgfix import accel
from imgfix.accel import Accelerator

WORKS = "exit 99"
ABORTS = "echo 'error: failed to set MSR 0x10a to 0x0' >&2; exit 134"
HANGS = "exec sleep 60"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with a /dev/kvm that opens, and its own cache; its QEMU is written by `qemu`."""
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accel, "KVM", device)
    monkeypatch.setattr(accel, "PROBE_TIMEOUT", 0.5)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("LIBGUESTFS_BACKEND_SETTINGS", raising=False)
    return tmp_path


def qemu(host: Path, script: str) -> None:
    """Make this host's QEMU a script."""
    program = host / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\necho ran >>{host}/ran\n{script}\n")
    program.chmod(0o755)


def test_working_kvm_is_used_and_not_remembered_as_broken(host: Path) -> None:
    qemu(host, WORKS)
    assert accel.choose().accelerator is Accelerator.KVM
    assert not (host / "cache").exists()


@pytest.mark.parametrize(("script", "words"), [(ABORTS, "failed to set MSR"), (HANGS, "does not finish")])
def test_broken_kvm_is_told_and_remembered(host: Path, script: str, words: str) -> None:
    qemu(host, script)
    first = accel.choose()
    assert first.accelerator is Accelerator.TCG
    assert words in first.reason
    assert accel.choose() == first
    assert (host / "ran").read_text() == "ran\n"


def test_another_qemu_is_probed_again(host: Path) -> None:
    qemu(host, ABORTS)
    accel.choose()
    qemu(host, WORKS)
    assert accel.choose().accelerator is Accelerator.KVM


def test_no_kvm_needs_no_probe(host: Path) -> None:
    accel.KVM.unlink()
    assert accel.choose().reason == "there is no /dev/kvm"
    assert not (host / "ran").exists()


def test_force_tcg_is_honoured(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
    assert accel.choose().accelerator is Accelerator.TCG
