"""Folders of packages for real guests: Debian's own, fetched for what a disk has installed, and small rpms."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.disks.recipes import cache_dir
from tests.disks.root import Bootstrap


def dpkg_status(disk: Path, partition: int) -> str:
    """Return dpkg's list of packages from an ext4 partition of a disk, without an appliance."""
    table = json.loads(subprocess.run(("sfdisk", "--json", disk), capture_output=True, check=True).stdout)
    start = table["partitiontable"]["partitions"][partition - 1]["start"] * 512
    argv = ("debugfs", "-R", "cat /var/lib/dpkg/status", f"{disk}?offset={start}")
    status = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert status.startswith("Package: "), status[:200]
    return status


def fetched(status: str, suite: str, names: Sequence[str]) -> Path:
    """Return a folder with Debian's packages `names` and all that they need besides what `status` lists.

    Kept in the cache of the test disks: fetched once for each list of installed packages.
    """
    key = hashlib.sha256(f"{suite} {names} {status}".encode()).hexdigest()[:16]
    folder = cache_dir() / f"debs-{suite}-{key}"
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / f"debs-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in cache_dir().glob(f"debs-{suite}-*"):
                shutil.rmtree(old)
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _fetch(partial, status, suite, names)
            (partial / "archives").rename(folder)
            shutil.rmtree(partial)
    return folder


def _fetch(folder: Path, status: str, suite: str, names: Sequence[str]) -> None:
    """Let this host's apt do it, with the guest's list of packages in place of its own."""
    for name in ("lists/partial", "archives/partial", "etc"):
        (folder / name).mkdir(parents=True)
    (folder / "status").write_text(status)
    (folder / "etc/sources.list").write_text(Bootstrap(suite, (), "").sources())
    settings = {
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "Dir::Etc": folder / "etc",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", "-y", *(f"-o{key}={value}" for key, value in settings.items())]
    for words in (("update",), ("--no-install-recommends", "--download-only", "install", *names)):
        done = subprocess.run([*apt, *words], capture_output=True, text=True, check=False, env={**os.environ})
        assert done.returncode == 0, done.stdout + done.stderr
    for left in ("partial", "lock"):
        path = folder / "archives" / left
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
