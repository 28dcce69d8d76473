"""--chroot host: the guest's own initramfs generator, run natively on a copy of its files in a sandbox of this host.

It runs programs of the guest on this host's kernel, and not in the appliance: only where the user asks for it, never
because a profile does. docs/host-chroot.md says what is trusted then.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from imgfix import sandbox, sandbox_devices
from imgfix import tree as files
from imgfix.apply import check
from imgfix.change import Rebuild
from imgfix.errors import ApplyError, HostError
from imgfix.facts.initramfs import list_initramfs
from imgfix.facts.model import Storage
from imgfix.guest import MAX_OUTPUT, CommandResult, Guest
from imgfix.guestfish import ENVIRONMENT
from imgfix.interrupt import Interrupts
from imgfix.scratch import Scratch

#: What no generator reads. What is mounted over in the sandbox is left out with its name: it cannot be a link then.
_MOUNTED = ("proc", "sys", "dev", "run", "tmp")
_UNREAD = (
    *("home/*", "root/*", "srv/*", "mnt/*", "media/*", "opt/*", "lost+found", "swapfile", "swap.img"),
    *("usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "usr/share/info/*", "usr/share/zoneinfo/*"),
    *("usr/src/*", "usr/include/*", "usr/lib/debug/*", "usr/games/*", "usr/local/share/*"),
    *("var/log/*", "var/cache/*", "var/tmp/*", "var/spool/*", "var/mail/*", "var/www/*", "var/crash/*"),
    *("var/lib/apt/*", "var/lib/docker/*", "var/lib/containers/*", "var/lib/mysql/*", "var/lib/postgresql/*"),
    *("var/lib/libvirt/*", "var/lib/machines/*", "var/lib/snapd/*", "var/lib/rpm/*", "var/lib/dnf/*"),
    *("snap/*", ".snapshots", "boot/*.bak", "boot/grub/*", "boot/grub2/*"),
)
_MODULES = ("lib/modules", "usr/lib/modules")

#: ELF's e_machine, two bytes at this place (elf(5)).
_MACHINE = slice(18, 20)

_INSTEAD = "leave out --chroot host: it is then rebuilt in the appliance, or appended to"


class HostChroot:
    """A copy of a guest's files in a scratch of this host. It is made when it is first needed."""

    def __init__(
        self,
        guest: Guest,
        scratch: Scratch,
        releases: Sequence[str],
        storage: Storage,
        interrupts: Interrupts,
        ran: Callable[[tuple[str, ...], float, int], None],
    ) -> None:
        """`releases` are the kernels that are rebuilt; `ran` is told of each command that has ended."""
        self._guest = guest
        self._scratch = scratch
        self._releases = releases
        self._interrupts = interrupts
        self._ran = ran
        self._storage = storage
        self._devices: tuple[str, ...] = ()
        self._copied = False
        self._foreign: dict[str, str] = {}

    def rebuild(self, rebuild: Rebuild) -> None:
        """Rebuild an initramfs and put it into the guest. Raises HostError, GuestError, ApplyError."""
        tree = self._tree()
        with tempfile.TemporaryFile(dir=tree.parent) as image, tempfile.TemporaryFile(dir=tree.parent) as log:
            self._generate(rebuild, tree, image, log)
            self._require_owners(rebuild, image)
            self._guest.replace(rebuild.target, Path(f"/proc/self/fd/{image.fileno()}"))

    def _generate(self, rebuild: Rebuild, tree: Path, image: BinaryIO, log: BinaryIO) -> None:
        script = " && ".join(shlex.join(argv) for argv in rebuild.commands)
        whole = f"{{ {script}; }} >&2 && exec cat {shlex.quote(rebuild.target)}"
        argv = (*sandbox.guest(tree, *self._devices), "/bin/sh", "-c", whole)
        environment = dict(word.split("=", 1) for word in ENVIRONMENT)
        start = time.monotonic()
        ended = self._run(argv, environment, stdout=image, stderr=log)
        self._ran(rebuild.commands[0], time.monotonic() - start, ended.status)
        if ended.stopped:
            raise HostError(
                f"{rebuild.target} cannot be rebuilt in the sandbox: {ended.stopped}", hint=_INSTEAD
            )
        log.seek(max(0, log.tell() - MAX_OUTPUT))
        check(
            rebuild,
            rebuild.commands[0],
            CommandResult(ended.status, log.read().decode("utf-8", "replace")),
        )

    def _run(
        self,
        argv: Sequence[str],
        environment: dict[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: BinaryIO,
        stderr: BinaryIO,
    ) -> sandbox.Ended:
        with (
            sandbox.started(
                argv,
                self._scratch.tree.parent,
                environment=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            ) as program,
            self._interrupts.ending(program.kill),
        ):
            ended = program.wait()
        for stream in (stdout, stderr):
            stream.seek(0, os.SEEK_END)
        return ended

    def _require_owners(self, rebuild: Rebuild, image: BinaryIO) -> None:
        """Refuse an image with files that are another's than root's in the guest: the sandbox knows one owner."""
        image.seek(0)
        members = list_initramfs(image, rebuild.target)
        if not members:
            raise ApplyError(f"{rebuild.target}: the guest's generator made an empty image", hint=_INSTEAD)
        for member in members:
            owner = self._foreign.get(member.path)
            if owner is not None or member.uid or member.gid:
                raise ApplyError(
                    f"{rebuild.target}: {member.path} in it belongs to {owner or f'{member.uid}/{member.gid}'} (user "
                    "and group) in the guest, and the sandbox knows root only",
                    hint=_INSTEAD,
                )

    # -- the copy

    def _tree(self) -> Path:
        if not self._copied:
            _require_same_machine(self._guest)
            _require_plain(self._storage)
            start = time.monotonic()
            self._guest.pack([f"./{path}" for path in self._excluded()])
            self._ran(("(packing the guest's files)",), time.monotonic() - start, 0)
            start = time.monotonic()
            self._extract(self._scratch.tree)
            self._scratch.empty_drive()
            folder = self._scratch.tree.with_name("devices")
            self._devices = sandbox_devices.lay(folder, self._storage.filesystems, self._guest.head)
            self._ran(("(unpacking the guest's files)",), time.monotonic() - start, 0)
            self._copied = True
        return self._scratch.tree

    def _extract(self, tree: Path) -> None:
        """Unpack the guest's files, by this host's tar, in a sandbox of its own: an archive can be hostile, too."""
        script = (
            "tar -C /tree -x -vv -p -b 2048 --numeric-owner --no-same-owner --delay-directory-restore && "
            + " && ".join(f"mkdir -m 755 /tree/{name}" for name in _MOUNTED)
        )
        argv = (*sandbox.tools("--bind", str(tree), "/tree", "--tmpfs", "/tmp"), "/bin/sh", "-c", script)  # noqa: S108
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
        with (
            tempfile.TemporaryFile(dir=tree.parent) as listing,
            tempfile.TemporaryFile(dir=tree.parent) as log,
            self._scratch.drive.open("rb") as drive,
        ):
            ended = self._run(argv, environment, stdin=drive.fileno(), stdout=listing, stderr=log)
            log.seek(0)
            said = ended.stopped or log.read(MAX_OUTPUT).decode("utf-8", "replace").strip()
            if ended.status:
                raise HostError(f"the guest's files cannot be unpacked in {tree}: {said}", hint=_INSTEAD)
            listing.seek(0)
            self._foreign = dict(_foreign(listing))

    def _excluded(self) -> Iterator[str]:
        yield from _MOUNTED
        yield from _UNREAD
        for root in _MODULES:
            for name in files.names(self._guest, f"/{root}"):
                if name not in self._releases:
                    yield f"{root}/{name}"


def _foreign(listing: BinaryIO) -> Iterator[tuple[str, str]]:
    """Yield path and owner (user/group) of what is not root's, from the lines of `tar -vv`."""
    for line in listing:
        words = line.decode("utf-8", "surrogateescape").rstrip("\n").split(maxsplit=5)
        if len(words) == 6 and words[1] != "0/0":
            path = words[5].partition(" -> ")[0].partition(" link to ")[0]
            yield path.removeprefix("./").rstrip("/"), words[1]


def _require_same_machine(guest: Guest) -> None:
    """Raise HostError for a guest whose programs this host's processor does not run."""
    theirs = files.read(guest, "/bin/sh")[_MACHINE]
    ours = Path("/proc/self/exe").read_bytes()[_MACHINE]
    if theirs != ours:
        numbers = [int.from_bytes(machine, "little") for machine in (theirs, ours)]
        raise HostError(
            f"the guest's /bin/sh is for another machine than this host is (ELF machine {numbers[0]}, here "
            f"{numbers[1]}), so that its programs do not run here",
            hint=_INSTEAD,
        )


def _require_plain(storage: Storage) -> None:
    """Raise HostError where the generator must see how the root is put together: else the image does not boot."""
    if storage.encrypted or storage.arrays:
        what = "encrypted" if storage.encrypted else "on RAID"
        raise HostError(
            f"the guest's disk is {what}, and its generator must see the devices to pack what opens them; they are in "
            "the appliance only",
            hint=_INSTEAD,
        )
