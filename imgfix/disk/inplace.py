"""In place: the source itself becomes the VHD, for hosts without space for two copies.

The changes gather in an overlay beside the disk, which is only read meanwhile. When everything is verified, a journal
is written, and the overlay is merged into the disk. A crash before the journal leaves the disk as it was; one after it
leaves a disk that `recover` completes, as often as it takes: merging the same overlay twice gives the same bytes.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal

from imgfix.disk import journal, lock, qemu_img
from imgfix.disk.fault import HEADROOM, boundary, free_bytes, host_errors, no_space, sync_folder
from imgfix.disk.in_use import refuse_in_use
from imgfix.disk.interrupted import journal_path, overlay_path
from imgfix.disk.journal import Journal
from imgfix.disk.relocate import padded_size, relocate
from imgfix.disk.source import Source, Stamp, reader
from imgfix.disk.sparse import OpenFile
from imgfix.disk.vhd import FOOTER_SIZE
from imgfix.errors import HostError, ImageError, UsageError


class InPlace:
    """An open change in place. `path` is the overlay to change, `output` the name that the disk will have.

    Use it as a context manager: leaving without `publish` removes the overlay, and the disk is as it was.
    """

    image_format: Literal["qcow2"] = "qcow2"

    def __init__(self, disk: Path, output: Path, size: int, held: ExitStack) -> None:
        self.path = overlay_path(disk)
        self.output = output
        self.size = size
        self._disk = disk
        self._held = held
        self._stamp = Stamp.of(disk.stat())

    @classmethod
    def create(cls, source: Source, output: Path, *, force: bool = False, least: int = 0) -> InPlace:
        """Lock the disk and put an empty overlay over it, padded to whole MiB, the GPT's backup at the new end.

        `least` is the bytes that it is to have at least.

        Raises UsageError for an output that exists (unless `force`) or lies on another file system and for a disk
        with a second name, HostError for lack of space or permission and while another imgfix uses the disk,
        ImageError when the disk has changed since it was opened.
        """
        if source.image is not None:
            raise UsageError(
                f"{source.path}: is a {source.format.value}; only a raw disk or a fixed VHD can become a VHD in place",
                hint="leave out --in-place",
            )
        disk = source.path.resolve()
        output = output.resolve()
        _check_names(disk, output, force=force)
        if free_bytes(disk.parent) < HEADROOM:
            raise no_space("the changes", disk.parent, needed=HEADROOM)
        with ExitStack() as held:
            fd = held.enter_context(lock.changing(disk))
            refuse_in_use(OpenFile(fd, disk))
            if Stamp.of(os.fstat(fd)) != source.stamp:
                raise ImageError(
                    f"{disk}: changed while it was in use", hint="shut down the virtual machine that uses it"
                )
            is_gpt = source.table.scheme == "gpt"
            size = padded_size(reader(fd, source.size), source.size, gpt_disk=is_gpt, least=least)
            held.callback(_drop_overlay, disk)
            boundary("overlay")
            _make_overlay(disk, size)
            _move_ends(source, fd, size)
            return cls(disk, output, size, held.pop_all())
        raise AssertionError("unreachable: ExitStack suppresses nothing here")

    def publish(self, footer: bytes) -> Path:
        """Merge the overlay into the disk, append `footer`, give the disk its new name; return that.

        Raises HostError and ImageError: with the disk as it was, or, once the journal is written, with the way to
        complete it.
        """
        if Stamp.of(self._disk.stat()) != self._stamp:
            raise ImageError(
                f"{self._disk}: changed while imgfix worked on it; it was left as it is now",
                hint="shut down the virtual machine that uses it",
            )
        with self._disk.open("rb") as stream:
            refuse_in_use(OpenFile(stream.fileno(), self._disk))
        needed = self.path.stat().st_blocks * 512
        if free_bytes(self._disk.parent) < needed:  # the disk may have holes where there are changes
            raise no_space("merging the changes", self._disk.parent, needed=needed)
        _sync(self.path)
        boundary("before-journal")
        name = os.path.relpath(self.output, self._disk.parent)
        plan = Journal(inode=self._stamp.inode, output=name, size=self.size, footer=footer.hex())
        journal.write(self._disk, plan)
        boundary("journal")
        finish(self._disk, plan)
        return self.output

    def close(self) -> None:
        """Remove the overlay unless a journal needs it; harmless when done before."""
        self._held.close()

    def __enter__(self) -> InPlace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def recover(disk: Path) -> Path | None:
    """Complete a change in place that was interrupted, and return the VHD; None where there was none.

    Raises HostError and ImageError; it may then be tried again.
    """
    disk = disk.parent.resolve() / disk.name
    plan = journal.read(disk)
    if plan is None:
        return None
    output = _output(disk, plan)
    with lock.changing(disk if disk.exists() else output):
        finish(disk, plan)
    return output


def finish(disk: Path, plan: Journal) -> None:
    """Do what the journal says; each step may have been done before."""
    output = _output(disk, plan)
    try:
        if _is(disk, plan) and not plan.merged:
            _merge(disk, plan)
            boundary("merged")
            plan = plan.model_copy(update={"merged": True})
            journal.write(disk, plan)
            boundary("merged-journal")
        if _is(disk, plan) and output != disk:
            with host_errors("publishing", output):
                disk.rename(output)
                boundary("renamed")
                for folder in {disk.parent, output.parent}:
                    sync_folder(folder)
        if not _is(output, plan):
            raise ImageError(
                f"{disk}: the disk that {journal_path(disk).name} belongs to is neither there nor at {output}",
                hint="put it back under one of the two names and try again",
            )
        boundary("published")
    except (HostError, OSError, KeyboardInterrupt) as error:
        why = error.message if isinstance(error, HostError) else str(error) or "interrupted"
        raise HostError(
            f"{disk}: the changes are complete and verified, but not all of them are written into the disk yet: {why}",
            hint=f"nothing is lost; when the cause is mended: imgfix recover {disk}",
        ) from error
    journal.remove(disk)


def _drop_overlay(disk: Path) -> None:
    """Remove the overlay, unless a journal says that it is still needed."""
    if not os.path.lexists(journal_path(disk)):
        overlay_path(disk).unlink(missing_ok=True)


def _output(disk: Path, plan: Journal) -> Path:
    return Path(os.path.normpath(disk.parent / plan.output))


def _is(path: Path, plan: Journal) -> bool:
    try:
        return path.stat().st_ino == plan.inode
    except FileNotFoundError:
        return False


def _merge(disk: Path, plan: Journal) -> None:
    overlay = overlay_path(disk)
    if not overlay.is_file():
        raise ImageError(
            f"{overlay}: is missing; it holds the changes that {journal_path(disk).name} speaks of",
            hint=f"if it was moved, put it back; without it {disk.name} cannot be completed",
        )
    # -d leaves the overlay as it is, so that the same can be done again.
    qemu_img.run("merging the changes", overlay, "commit", "-q", "-d", "-f", "qcow2", overlay.name)
    boundary("committed")
    with host_errors("writing the footer", disk, needed=FOOTER_SIZE), disk.open("r+b") as stream:
        os.ftruncate(stream.fileno(), plan.size)
        os.pwrite(stream.fileno(), bytes.fromhex(plan.footer), plan.size)
        os.fsync(stream.fileno())


def _check_names(disk: Path, output: Path, *, force: bool) -> None:
    folder = output.parent
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: there is no such folder, needed for the output", hint=f"mkdir -p {folder}"
        )
    status = disk.stat()
    if status.st_nlink > 1:
        raise UsageError(
            f"{disk}: has {status.st_nlink} names (hard links), and what lies under the others would change too",
            hint="work on a copy: leave out --in-place",
        )
    if output != disk and output.exists():
        if output.samefile(disk) or not output.is_file():
            raise UsageError(f"{output}: is in the way, and is no regular file of its own")
        if not force:
            raise UsageError(
                f"{output}: exists already", hint="give another name with -o, or replace it with --force"
            )
    if folder.stat().st_dev != status.st_dev:
        raise UsageError(
            f"{output}: lies on another file system than {disk}, which is renamed to it in place",
            hint="name an output beside the disk with -o, or leave out --in-place",
        )
    for place in {disk, disk.parent, folder}:
        if not os.access(place, os.W_OK):
            raise HostError(f"{place}: no permission to write, needed for --in-place")


def _make_overlay(disk: Path, size: int) -> None:
    """The overlay names the disk from beside it, so that both can be moved."""
    overlay = overlay_path(disk)
    # A name with a colon in it would be taken for a protocol.
    backing = ("-b", f"./{disk.name}", "-F", "raw")
    qemu_img.run(
        "making the overlay", overlay, "create", "-q", "-f", "qcow2", *backing, overlay.name, str(size)
    )
    with host_errors("making the overlay", overlay):
        overlay.chmod(0o600)


def _move_ends(source: Source, fd: int, size: int) -> None:
    """Take a footer out of the disk's new end, and move the GPT's backup there."""
    overlay = overlay_path(source.path.resolve())
    commands = []
    if source.footer is not None and size > source.size:
        commands.append(f"write -q -z {source.size} {size - source.size}")
    with tempfile.TemporaryDirectory(prefix="imgfix-") as folder:
        if source.table.scheme == "gpt":
            for number, write in enumerate(relocate(reader(fd, source.size), source.size, size)):
                piece = Path(folder) / str(number)
                piece.write_bytes(write.data)
                commands.append(f"write -q -s {piece} {write.offset} {len(write.data)}")
        if commands:
            options = [word for command in commands for word in ("-c", command)]
            qemu_img.run(
                "moving the disk's end", overlay, "-f", "qcow2", *options, overlay.name, program="qemu-io"
            )


def _sync(path: Path) -> None:
    with host_errors("syncing the changes", path), path.open("rb") as stream:
        os.fsync(stream.fileno())
