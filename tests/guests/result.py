"""The finished VHD, opened by libguestfs directly: what a test sees here does not come from imgfix."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imgfix import accel
from imgfix.appliance import EMULATED_APPEND, LABEL

#: Mount point -> device of the test disks that are opened in every run: libguestfs would search for ten seconds.
MOUNTS = {
    "debian12": {"/": "/dev/sda3", "/boot/efi": "/dev/sda2"},
    "el9": {"/": "/dev/rhel/root", "/boot": "/dev/sda1"},
}


@contextmanager
def opened(
    vhd: Path, folder: Path, footer: int = 512, mounts: Mapping[str, str] | None = None
) -> Iterator[Any]:
    """Open a throw-away overlay of the VHD, without its `footer` bytes, and mount the guest; yields the handle.

    What to mount is inspected where `mounts` does not tell.
    """
    overlay = folder / "overlay.qcow2"
    size = vhd.stat().st_size - footer
    backing = ("-b", str(vhd), "-F", "raw")
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(overlay), str(size)), check=True)
    handle = importlib.import_module("guestfs").GuestFS(python_return_dict=True)
    try:
        handle.set_backend("direct")
        if accel.choose().accelerator is accel.Accelerator.TCG:
            handle.set_backend_settings(["force_tcg"])
            handle.set_append(EMULATED_APPEND)
        handle.set_memsize(1024)
        handle.add_drive_opts(str(overlay), format="qcow2", label=LABEL)
        handle.launch()
        if mounts is None:
            mounts = _inspected(handle)
        for mountpoint in sorted(mounts, key=len):
            handle.mount(mounts[mountpoint], mountpoint)
        yield handle
    finally:
        handle.close()
        overlay.unlink()


def _inspected(handle: Any) -> dict[str, str]:
    roots = handle.inspect_os()
    # On the SUSE-like disk a snapshot looks like a root, too; the default subvolume goes by its device's name.
    (root,) = [r for r in roots if not r.startswith("btrfsvol:")]
    mounts: dict[str, str] = handle.inspect_get_mountpoints(root)
    return mounts


def shell(handle: Any, script: str) -> str:
    """Run a shell script in the guest's chroot; returns stdout and stderr, fails with them."""
    answer = str(handle.sh(f"( set -e; {script}\n) 2>&1; echo status=$?"))
    output, _, status = answer.strip().rpartition("status=")
    assert status == "0", f"{script}\n{output}"
    return output
