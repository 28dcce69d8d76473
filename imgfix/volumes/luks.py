"""LUKS: volumes opened with the user's keys, and named as the guest names them."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence

from imgfix import tree
from imgfix.appliance import Appliance, GuestfsError
from imgfix.disk.partition import PartitionTable
from imgfix.errors import ImageError, ParseError, UsageError
from imgfix.facts import devices
from imgfix.facts.model import Encrypted, Storage
from imgfix.keys import Key
from imgfix.textedit import crypttab
from imgfix.tree import Tree
from imgfix.volumes.scan import scan

CRYPTTAB = "/etc/crypttab"

_MAPPER = "/dev/mapper/"

#: The key lies in the appliance's memory while it is used: on no command line, in no trace and on no disk.
_BEFORE = "mount -t tmpfs -o size=16m,mode=0700 imgfix /sysroot"
_AFTER = "umount /sysroot; udevadm settle --timeout=60"
_OPEN = "cryptsetup open --type luks --key-file /sysroot/key %s %s"

#: cryptsetup(8), RETURN CODES: no permission, which is a bad passphrase.
_NOT_THIS_KEY = 2


class Opener:
    """Opens the LUKS volumes of one disk; `mapped` says what each device is open as."""

    def __init__(self, appliance: Appliance, table: PartitionTable, keys: Sequence[Key]) -> None:
        self._appliance = appliance
        self._table = table
        self._keys = keys
        self.mapped: dict[str, str] = {}

    def scan(self) -> Storage:
        """Scan the disk, as it is now."""
        return scan(self._appliance, self._table, self.mapped)

    def open_all(self) -> Storage:
        """Open what the keys open, inside volumes that were opened too, and return the disk as it is then.

        Raises UsageError where there are LUKS volumes and no key fits any.
        """
        storage, tried = self.scan(), set[str]()
        while self._keys and (closed := [e for e in storage.encrypted if e.device not in tried]):
            tried |= {e.device for e in closed}
            if [e for e in closed if self._open(e)]:
                self._appliance.call("lvm_scan", True)
                storage = self.scan()
        if tried and not self.mapped:
            names = ", ".join(f"{e.device} (LUKS {e.uuid})" for e in storage.encrypted)
            origins = ", ".join(key.origin for key in self._keys)
            raise UsageError(
                f"{origins}: opens none of the encrypted volumes on the disk: {names}",
                hint="try it in the virtual machine: cryptsetup open --test-passphrase --key-file FILE DEVICE",
            )
        return storage

    def _open(self, volume: Encrypted) -> bool:
        name = f"luks-{volume.uuid}"  # as dracut and systemd name what crypttab does not
        for key in self._keys:
            if any(self._try(volume, name, content) for content in key.readings):
                self.mapped[volume.device] = f"{_MAPPER}{name}"
                return True
        return False

    def _try(self, volume: Encrypted, name: str, content: bytes) -> bool:
        try:
            self._appliance.shell(_BEFORE)
            with tempfile.TemporaryFile(prefix="imgfix-") as file:
                file.write(content)
                file.flush()
                self._appliance.call("upload", f"/dev/fd/{file.fileno()}", "/key")
            status, output = self._appliance.shell(_OPEN % (shlex.quote(volume.device), shlex.quote(name)))
        finally:
            self._appliance.shell(_AFTER)
        if status not in (0, _NOT_THIS_KEY):
            raise ImageError(
                f"{volume.device}: the encrypted volume cannot be opened: {output or f'status {status}'}",
                hint="open it in the virtual machine: cryptsetup open --test-passphrase DEVICE",
            )
        return status == 0

    def rename(self, names: Mapping[str, str]) -> dict[str, str]:
        """Rename open volumes, given by device, and return old and new mapper names. None may be mounted."""
        moved: dict[str, str] = {}
        for device, name in names.items():
            old = self.mapped[device].removeprefix(_MAPPER)
            status, output = self._appliance.shell(
                f"dmsetup rename {shlex.quote(old)} {shlex.quote(name)} && udevadm settle --timeout=60"
            )
            if status:
                raise GuestfsError("dmsetup", output)
            moved[f"{_MAPPER}{old}"] = f"{_MAPPER}{name}"
            self.mapped[device] = f"{_MAPPER}{name}"
        return moved


def wanted_names(guest: Tree, storage: Storage) -> dict[str, str]:
    """Return the open LUKS devices whose name is another in the guest's crypttab, with that name.

    initramfs-tools looks the root's device up in crypttab by its name; under another one the image that it makes
    would not ask for the passphrase
    (https://salsa.debian.org/cryptsetup-team/cryptsetup/-/blob/debian/latest/debian/initramfs/hooks/cryptroot).
    """
    found: dict[str, str] = {}
    for entry in _entries(guest):
        filesystem = devices.find(entry.device, storage)
        volumes = [e for e in storage.encrypted if filesystem and e.device == filesystem.device]
        if any(v.mapped and v.mapped != f"{_MAPPER}{entry.name}" for v in volumes):
            found.setdefault(volumes[0].device, entry.name)
    return found


def _entries(guest: Tree) -> Iterable[crypttab.Entry]:
    if not tree.is_file(guest, CRYPTTAB):
        return []
    try:
        lines = crypttab.parse(tree.read_text(guest, CRYPTTAB))
    except ParseError as error:
        raise ParseError(
            f"{CRYPTTAB}:{error.line}: {error.message}; it names the guest's encrypted volumes",
            line=error.line,
            hint="mend the line in the guest; imgfix does not guess",
        ) from error
    return [line.entry for line in lines if line.entry is not None]


def closed(storage: Storage) -> tuple[Encrypted, ...]:
    """Return the encrypted volumes that no key has opened."""
    return tuple(e for e in storage.encrypted if not e.mapped)
