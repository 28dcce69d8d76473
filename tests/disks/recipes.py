"""The table of disks, and the cache they are kept in."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import debian, debian12, el8, el9, kernels, luks, raid, suse, ubuntu
from .host import DiskError, require_root, run, say
from .workshop import Workshop

RECIPES: dict[str, Callable[[Workshop], None]] = {
    "debian12": debian12.build,
    "el9": el9.build,
    "luks": luks.build,
    "raid": raid.build,
    "debian11": debian.build11,
    "debian13": debian.build13,
    "el8": el8.build,
    "ubuntu": ubuntu.build,
    "suse": suse.build,
    "debian12full": kernels.build_full,
    "debian12cloud": kernels.build_cloud,
}

# Files shared by all recipes; a recipe adds its module, its folder of texts and what it names in INPUTS.
_COMMON = ("host.py", "image.py", "root.py", "workshop.py")
_RPM = ("rpmdb.py", "../facts/rpm_writer.py")
_INPUTS: dict[str, tuple[str, ...]] = {
    "debian12": ("debian12.py", "trees/debian12"),
    "el9": ("el9.py", *_RPM, "trees/el9"),
    "debian11": ("debian.py", "loader.py", "trees/debian11"),
    "debian13": ("debian.py", "loader.py", "trees/debian13"),
    "ubuntu": ("ubuntu.py", "bookworm.py", "debian.py", "loader.py", "trees/ubuntu"),
    "el8": ("el8.py", "el9.py", "bookworm.py", "debian.py", *_RPM, "trees/el9", "trees/el8"),
    "suse": (
        *("suse.py", "el9.py", "bookworm.py", "debian.py", "loader.py", *_RPM),
        *("trees/el9/usr/lib/systemd/system", "trees/suse"),
    ),
    "debian12full": ("kernels.py", "debian.py", "loader.py", "trees/debian13"),
    "debian12cloud": ("kernels.py", "debian.py", "loader.py", "trees/debian13"),
    "luks": ("luks.py", "phony.py"),
    "raid": ("raid.py", "phony.py"),
}
_HERE = Path(__file__).parent


def cache_dir() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "imgfix" / "test-disks"


def key(name: str) -> str:
    """Hash of the recipe's files: names, executable bits, contents."""
    digest = hashlib.sha256()
    for top in (*_COMMON, *_INPUTS[name]):
        path = _HERE / top
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(f"{file.relative_to(_HERE)} {os.access(file, os.X_OK)}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def make(name: str, out: Path) -> None:
    """Put the disk at `out`: from the cache, building it first where the recipe is new."""
    if name not in RECIPES:
        raise DiskError(f"no test disk named {name!r}; there are: {', '.join(RECIPES)}")
    if not out.parent.is_dir():
        raise DiskError(f"no folder {out.parent} to put the disk in")
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    cached = cache / f"{name}-{key(name)}.raw"
    with _lock(cache / f"{name}.lock"):
        if not cached.exists():
            _build(name, cached)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        run(("cp", "--sparse=always", "--reflink=auto", cached, partial))
        partial.chmod(0o644)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    say(f"{out}: {name}, {out.stat().st_size} bytes, from {cached}")


def _build(name: str, cached: Path) -> None:
    require_root()
    for left in cached.parent.glob(f"{name}.*.work"):  # of a build that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=".work", dir=cached.parent))
    try:
        shop = Workshop(cache=cached.parent, folder=work)
        RECIPES[name](shop)
        for old in cached.parent.glob(f"{name}-*.raw"):
            old.unlink()
        shop.disk.replace(cached)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"built {name}")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {path.stem}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
