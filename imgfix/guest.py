"""A guest opened in the appliance: its files as a Tree, and the few verbs that change it."""

from __future__ import annotations

import posixpath
import shlex
import stat as st
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgfix.appliance import SCRATCH, Appliance, GuestfsError
from imgfix.disk.size import describe
from imgfix.errors import ApplyError, GuestError
from imgfix.guest_shell import INSIDE, WRAPPER
from imgfix.guestfish import ENVIRONMENT
from imgfix.sandbox_devices import HEAD
from imgfix.tree import Entry, Kind

#: A configuration file larger than this (bytes) is no configuration file; reading it could fill the memory.
MAX_FILE = 64 << 20

#: Bytes that one call appends; libguestfs' messages end at 4 MiB (guestfs(3), PROTOCOL LIMITS).
_PIECE = 2 << 20

#: Bytes of package files that fit into the appliance's memory, besides what installing them takes.
LENT_IN_MEMORY = 256 << 20

#: Bytes of a guest command's output that are kept for an error message, its end.
MAX_OUTPUT = 256 << 10

_KINDS = {st.S_IFREG: Kind.FILE, st.S_IFDIR: Kind.DIRECTORY, st.S_IFLNK: Kind.LINK}

# The guest's file systems that keep labels, and in them what changed since a moment and has no label. Only its own:
# -xdev leaves out what is mounted below, and other subvolumes. ctime cannot be set, so archives and copies are seen.
_UNLABELLED = r"""
awk '$2 ~ "^/sysroot(/|$)" && $3 ~ "^(ext[234]|xfs|btrfs)$" { print $2 }' /proc/mounts | while read -r place; do
  find "$place" -xdev -newerct @%d -printf '%%Z\t%%p\n' 2>/dev/null
done
"""
_LABEL = "security.selinux"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A finished guest command: its exit status and the end of stdout and stderr together, as they came."""

    status: int
    output: str


class Guest:
    """The mounted guest. Implements `imgfix.tree.Tree`; listings and contents are cached until a change."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._folders: dict[str, dict[str, Entry]] = {}
        self._contents: dict[str, bytes] = {}
        self._since = 0
        #: Gets each line that a command of the guest prints, while it runs.
        self.heard: Callable[[str], None] | None = None
        #: Is told of each command of the guest that has ended: its words, its seconds, its exit status.
        self.ran: Callable[[tuple[str, ...], float, int], None] = lambda _argv, _seconds, _status: None

    # -- Tree

    def lstat(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None."""
        if path == "/":
            return Entry(Kind.DIRECTORY, mode=0o755)
        folder, name = posixpath.split(path)
        return self._folder(folder).get(name)

    def read_file(self, path: str) -> bytes:
        """Return the content of the regular file at `path`; raises GuestError if it is none or too large."""
        if path not in self._contents:
            entry = self.lstat(path)
            if entry is None or entry.kind is not Kind.FILE:
                raise GuestError(f"{path}: no such regular file in the guest")
            if entry.size > MAX_FILE:
                raise GuestError(
                    f"{path}: {entry.size} bytes, at most {MAX_FILE} can be a configuration file",
                    hint="look at the file in the guest; imgfix does not edit it",
                )
            with self.translated(f"{path} cannot be read"):
                self._contents[path] = self._read(path, entry.size)
        return self._contents[path]

    def _read(self, path: str, size: int) -> bytes:
        """Read a small file in one message: read_file makes a stream of several, and a file on this host, of each."""
        content = bytes(self._appliance.call("pread", path, size, 0)) if 0 < size <= _PIECE else b""
        return content if len(content) == size else bytes(self._appliance.call("read_file", path))

    def listdir(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in the folder `path`; empty if it is no folder."""
        return tuple(sorted(self._folder(path)))

    def _folder(self, path: str) -> dict[str, Entry]:
        if path not in self._folders:
            self._folders[path] = self._read_folder(path)
        return self._folders[path]

    def _read_folder(self, path: str) -> dict[str, Entry]:
        """One listing takes three calls, whatever the number of names: a call costs milliseconds."""
        if path != "/":
            entry = self.lstat(path)
            if entry is None or entry.kind is not Kind.DIRECTORY:
                return {}
        with self.translated(f"{path} cannot be listed"):
            names = self._names(path)
            stats = self._appliance.call("lstatnslist", path, names)
            links = [n for n, s in zip(names, stats, strict=True) if st.S_ISLNK(s["st_mode"])]
            targets = dict(zip(links, self._appliance.call("readlinklist", path, links), strict=True))
        return {
            n: _entry(s, targets.get(n, "")) for n, s in zip(names, stats, strict=True) if s["st_ino"] >= 0
        }

    def _names(self, path: str) -> list[str]:
        try:
            found: list[str] = self._appliance.call("ls", path)
        except UnicodeDecodeError:
            # The bindings cannot hand over names that are not UTF-8, nor take them: no editable file has one.
            with tempfile.NamedTemporaryFile() as listing:
                self._appliance.call("ls0", path, listing.name)
                raw = Path(listing.name).read_bytes().split(b"\0")
            found = [name.decode() for name in raw if name and _is_utf8(name)]
        return found

    def forget(self) -> None:
        """Drop what was cached: after a guest command any file may have changed."""
        self._folders.clear()
        self._contents.clear()

    # -- reading more than a configuration file

    @contextmanager
    def opened(self, path: str) -> Iterator[BinaryIO]:
        """Open the guest's file for reading in a temporary copy on this host; for initramfs images."""
        with tempfile.TemporaryFile(prefix="imgfix-") as copy:
            with self.translated(f"{path} cannot be read"):
                self._appliance.call("download", path, f"/dev/fd/{copy.fileno()}")
            copy.seek(0)
            yield copy

    def sha256(self, path: str) -> str:
        """Return the digest of the regular file at `path`, of any size; it is read in the appliance."""
        with self.translated(f"the digest of {path} cannot be made"):
            return str(self._appliance.call("checksum", "sha256", path))

    def free_bytes(self, path: str) -> int:
        """Return the free bytes of the file system that holds `path`."""
        with self.translated(f"the free space of {path} cannot be read"):
            figures = self._appliance.call("statvfs", path)
        return int(figures["bavail"]) * int(figures["bsize"])

    def _free(self, path: str) -> str:
        """Return the free space where `path` is to be, as the end of a message; "" where that cannot be told."""
        while path != "/":
            path = posixpath.dirname(path)
            with suppress(GuestError):
                return f"; {describe(self.free_bytes(path))} free there"
        return ""

    # -- SELinux labels

    def is_labelled(self, path: str) -> bool:
        """Tell whether the file at `path` has an SELinux label."""
        try:
            return bool(self._appliance.call("lgetxattr", path, _LABEL))
        except GuestfsError:
            return False  # no such attribute, or no such file

    def unlabelled(self) -> tuple[str, ...]:
        """Return the files and folders, sorted, that were changed since `begin_changes` and have no SELinux label.

        Those in /tmp and /run are left out: they are gone at the next boot.
        """
        with self.translated("files without an SELinux label cannot be looked for"):
            _, output = self._appliance.shell(_UNLABELLED % self._since)
        lines = (line.partition("\t") for line in output.split("\n"))
        paths = {path.removeprefix("/sysroot") or "/" for label, tab, path in lines if tab and not label}
        return tuple(sorted(p for p in paths if not p.startswith(("/tmp/", "/run/"))))  # noqa: S108  of the guest

    # -- changing

    def begin_changes(self) -> None:
        """Remember the appliance's time: what changes from now on is ours."""
        self.forget()
        with self.translated("the appliance does not tell its time"):
            _, seconds = self._appliance.shell("date +%s")
        self._since = int(seconds) - 1

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Make `path` hold `content`; an existing file keeps mode, owner and xattrs, a new one gets `mode`."""
        with self.changing(f"{path} cannot be written ({len(content)} bytes)", path):
            # In place, not by a rename: that keeps hard links and security.selinux too. A write that fails
            # half-way fails the image, and the work copy goes with it.
            fresh = self.lstat(path) is None
            if fresh:
                self._appliance.call("mkdir_p", posixpath.dirname(path))
            self._appliance.call("write", path, content)
            if fresh:
                self._appliance.call("chmod", mode, path)

    def remove(self, path: str) -> None:
        """Remove the file, link or whole folder at `path`."""
        with self.changing(f"{path} cannot be removed"):
            self._appliance.call("rm_rf", path)

    def link(self, path: str, target: str) -> None:
        """Make `path` a symbolic link to `target`, replacing a file or link that is there."""
        with self.changing(f"{path} cannot be linked to {target}"):
            self._appliance.call("mkdir_p", posixpath.dirname(path))
            self._appliance.call("ln_sf", target, path)

    def copy(self, source: str, path: str) -> None:
        """Copy a file inside the guest, with mode, owner and xattrs."""
        with self.changing(f"{source} cannot be copied to {path}", path):
            self._appliance.call("mkdir_p", posixpath.dirname(path))
            self._appliance.call("cp_a", source, path)

    def append(self, path: str, content: bytes) -> None:
        """Put `content` behind what the file at `path` holds; mode, owner, xattrs and other hard links stay."""
        with (
            self.changing(f"{path} cannot be appended to ({len(content)} bytes)"),
            self._alone(path) as alone,
        ):
            for at in range(0, len(content), _PIECE):
                self._appliance.call("write_append", alone, content[at : at + _PIECE])

    def replace(self, path: str, content: Path) -> None:
        """Make the file at `path` hold what this host's file `content` does, of any size; else as `append`."""
        with self.changing(f"{path} cannot be replaced"), self._alone(path) as alone:
            self._appliance.call("upload", str(content), alone)

    @contextmanager
    def _alone(self, path: str) -> Iterator[str]:
        """Yield where to change a file that may have other names; update-initramfs keeps its backups as hard links."""
        alone = f"{path}.imgfix" if self._appliance.call("lstatns", path)["st_nlink"] > 1 else path
        if alone != path:
            self._appliance.call("cp_a", path, alone)
        yield alone
        if alone != path:
            self._appliance.call("mv", alone, path)

    def pack(self, excluded: Sequence[str]) -> None:
        """Write the guest's files as a tar onto the drive SCRATCH, but for `excluded` ones (./usr/x)."""
        words = shlex.join(f"--exclude={path}" for path in excluded)
        drive = f"/dev/disk/guestfs/{SCRATCH}"
        with self.translated("the guest's files cannot be packed for this host"):
            self._appliance_shell(f"tar -C /sysroot --numeric-owner -b 2048 {words} -cf {drive} . && sync")

    def head(self, device: str) -> bytes:
        """Return the first bytes of a device, which hold the superblock of its file system."""
        with self.translated(f"{device} cannot be read"):
            return bytes(self._appliance.call("pread_device", device, HEAD, 0))

    def set_attributes(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Give the file or folder at `path` its permission bits and its owner."""
        with self.changing(f"{path} cannot be given mode {mode:o} and owner {uid}:{gid}"):
            # In this order: a change of owner takes setuid and setgid away (chown(2)).
            self._appliance.call("chown", uid, gid, path)
            self._appliance.call("chmod", mode, path)

    def run(self, argv: tuple[str, ...]) -> CommandResult:
        """Run a command of the guest in a chroot inside the appliance; any status is returned, none raises."""
        inside = INSIDE % MAX_OUTPUT
        command = [
            "env",
            f"INSIDE={inside}",
            f"HEARD={'yes' if self.heard else ''}",
            "/bin/sh",
            "-c",
            WRAPPER,
            "imgfix",
            "env",
            "-i",
            *ENVIRONMENT,
            *argv,
        ]
        start = time.monotonic()
        with self.changing(f"{argv[0]} cannot be run in the guest"), self._appliance.console(self.heard):
            answer = self._decoded("command", command)
        output, _, status = answer.rpartition("\n")
        if not status.isdigit():
            raise ApplyError(f"{argv[0]}: the guest's shell ended early: {answer.strip() or 'no output'}")
        self.ran(argv, time.monotonic() - start, int(status))
        return CommandResult(int(status), output)

    @contextmanager
    def lent(self, files: Sequence[Path]) -> Iterator[tuple[str, ...]]:
        """Put files of this host into a folder of the guest for its commands, and take them away afterwards.

        Yields their paths in the guest, in order. Up to LENT_IN_MEMORY bytes they never touch its disk.
        """
        with self.changing("package files cannot be put into the guest"):
            folder = str(self._appliance.call("mkdtemp", "/imgfix-XXXXXX"))
            in_memory = sum(file.stat().st_size for file in files) <= LENT_IN_MEMORY
            if in_memory:
                self._appliance_shell(f"mount -t tmpfs -o mode=0755 imgfix /sysroot{folder}")
            self._appliance.call("chmod", 0o755, folder)
            paths = tuple(f"{folder}/{number}-{file.name}" for number, file in enumerate(files))
            for file, path in zip(files, paths, strict=True):
                self._appliance.call("upload", str(file), path)
        yield paths  # where the commands fail, the image is thrown away
        with self.changing("package files cannot be taken out of the guest"):
            if in_memory:
                self._appliance_shell(f"umount /sysroot{folder}")
            self._appliance.call("rm_rf", folder)

    def _appliance_shell(self, script: str) -> None:
        """Run a command of the appliance, not of the guest; raises GuestfsError where it fails."""
        status, output = self._appliance.shell(script)
        if status:
            raise GuestfsError("debug", output)

    def _decoded(self, verb: str, *args: object) -> str:
        try:
            return str(self._appliance.call(verb, *args))
        except UnicodeDecodeError as error:
            return bytes(error.object).decode("utf-8", "replace")

    # -- errors

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn a failed libguestfs call into a GuestError that begins with `what`."""
        try:
            yield
        except GuestfsError as error:
            raise GuestError(f"{what}: {error}") from error

    @contextmanager
    def changing(self, what: str, path: str = "") -> Iterator[None]:
        """Like `translated`, for changes: an ApplyError, and cached facts are dropped.

        Where there is no space, the error says how much is free in the file system that holds `path`.
        """
        try:
            yield
        except GuestfsError as error:
            hint = _hint(str(error))
            free = self._free(path) if hint and path else ""
            raise ApplyError(f"{what}: {error}{free}", hint=hint) from error
        finally:
            self.forget()


def _hint(message: str) -> str | None:
    if "No space left" in message:
        return (
            "free space in the guest's file system, or enlarge it, and run it again; the source is untouched"
        )
    return None


def _entry(figures: dict[str, int], target: str) -> Entry:
    mode = figures["st_mode"]
    kind = _KINDS.get(st.S_IFMT(mode), Kind.OTHER)
    return Entry(
        kind=kind,
        mode=st.S_IMODE(mode),
        uid=figures["st_uid"],
        gid=figures["st_gid"],
        size=figures["st_size"],
        target=target,
    )


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
