"""A guest's root directory on the host: bootstrapped, changed natively, entered by chroot."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .host import DiskError, run, say

MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What mmdebstrap is asked for; everything here is part of the cached tar's key."""

    suite: str
    include: tuple[str, ...]
    # Kernel packages matching this (extended regular expression), newest two; a root has no fixed versions.
    # Empty: only the one that `include` brings along.
    kernels: str = ""
    # Packages that Debian declares in conflict with others of the list.
    forced: tuple[str, ...] = ()
    # A suite at its end is frozen in the main archive; its security archive may already lack files.
    frozen: bool = field(default=False, repr=False)

    def sources(self) -> str:
        signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        lines = [f"deb {signed} {MIRROR} {self.suite} main\n"]
        if not self.frozen:
            lines += [
                f"deb {signed} {MIRROR} {self.suite}-updates main\n",
                f"deb {signed} {SECURITY} {self.suite}-security main\n",
            ]
        return "".join(lines)

    def hooks(self) -> tuple[str, ...]:
        lines: list[str] = []
        if self.kernels:
            lines += [
                f"names=$(apt-cache pkgnames linux-image- | grep -E '{self.kernels}' | sort -V | tail -n 2)",
                "apt-get install -y --no-install-recommends $names",
            ]
        if self.forced:
            lines += [
                "cd /tmp",
                f"apt-get download {' '.join(self.forced)}",
                "dpkg --force-conflicts,depends -i *.deb",
                "rm *.deb",
            ]
        if not lines:
            return ()
        script = "; ".join(lines)
        return (f'chroot "$1" sh -ec "$(cat <<\'END\'\n{script}\nEND\n)"',)

    def key(self) -> str:
        return hashlib.sha256(repr((self, self.sources(), self.hooks())).encode()).hexdigest()[:16]


class Root:
    """An unpacked guest root; paths are the guest's, absolute."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def at(self, path: str) -> Path:
        return self.path / path.lstrip("/")

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        target = self.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        target.chmod(mode)

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace a text that must be in a file."""
        text = self.at(path).read_text()
        if old not in text:
            raise DiskError(f"{path} has no {old.strip()!r} to change")
        self.write(path, text.replace(old, new))

    def link(self, path: str, to: str) -> None:
        target = self.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(to)

    def remove(self, *patterns: str) -> None:
        for pattern in patterns:
            # Not Path.glob: it passes over a link whose target is missing, and all absolute links are such here.
            for name in glob.glob(pattern.lstrip("/"), root_dir=self.path):  # noqa: PTH207
                found = self.path / name
                if found.is_dir() and not found.is_symlink():
                    shutil.rmtree(found)
                else:
                    found.unlink()

    def lay(self, tree: Path, tokens: Mapping[str, str]) -> None:
        """Copy a folder of text files over the root; `@NAME@` is replaced, the executable bit is kept."""
        for source in sorted(path for path in tree.rglob("*") if path.is_file()):
            text = source.read_text()
            for name, value in tokens.items():
                text = text.replace(f"@{name}@", value)
            mode = 0o755 if os.access(source, os.X_OK) else 0o644
            self.write(str(source.relative_to(tree)), text, mode)

    def kernels(self) -> list[str]:
        """Kernel versions, oldest first."""
        names = (path.name for path in self.at("/lib/modules").iterdir())
        return run(("sort", "-V"), stdin="\n".join(names)).split()

    def chroot(self, *argv: str, stdin: str | None = None) -> str:
        """Run a command in the root, in a mount namespace of its own: nothing stays mounted behind it."""
        script = (
            'mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && mount --rbind /dev "$0/dev"'
            ' && mount -t tmpfs tmpfs "$0/run" && root=$0 && exec chroot "$root" "$@"'
        )
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
        return run(("unshare", "-m", "sh", "-c", script, str(self.path), *argv), stdin=stdin, env=env)

    def add_user(self, name: str, password: str, *groups: str) -> None:
        self.chroot("useradd", "-m", "-s", "/bin/bash", *(("-G", ",".join(groups)) if groups else ()), name)
        self.set_password(name, password)

    def set_password(self, name: str, password: str) -> None:
        self.chroot("chpasswd", stdin=f"{name}:{password}\n")


def bootstrap(spec: Bootstrap, cache: Path, target: Path) -> Root:
    """The bootstrapped root, unpacked from a cached tar, so that editing a recipe costs seconds."""
    tar = cache / f"root-{spec.suite}-{spec.key()}.tar"
    if not tar.exists():
        say(f"bootstrapping {spec.suite} with mmdebstrap (about two minutes)")
        sources = target.with_suffix(".list")
        sources.write_text(spec.sources())
        partial = tar.with_suffix(f".{os.getpid()}.partial")
        argv = ["mmdebstrap", "--mode=root", "--format=tar", "--variant=minbase"]
        argv += [
            f"--include={','.join(spec.include)}",
            *(f"--customize-hook={hook}" for hook in spec.hooks()),
        ]
        try:
            # INITRD=No: both initramfs hooks obey it; the recipe builds the images later, in its own way.
            run((*argv, spec.suite, partial, sources), env={"INITRD": "No"})
            partial.replace(tar)
        finally:
            partial.unlink(missing_ok=True)
    say("unpacking the root")
    target.mkdir()
    run(("tar", "-C", target, "-xpf", tar, "--numeric-owner", "--xattrs", "--xattrs-include=*"))
    return Root(target)
