"""What the guest itself wrote about a boot that failed, read from the overlay after power-off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imgfix import tree as files
from imgfix.disk.source import Source
from imgfix.errors import ImgfixError
from imgfix.interrupt import Interrupts
from imgfix.session import opened
from imgfix.tree import Tree

_LOGS = (
    "/var/log/cloud-init.log",
    "/var/log/cloud-init-output.log",
    "/var/log/waagent.log",
)
#: Files whose presence alone is a cause.
_DISABLERS = ("/etc/cloud/cloud-init.disabled",)
#: Of each log its end, in characters.
_TAIL = 200_000


@dataclass(frozen=True, slots=True)
class GuestLogs:
    """The logs' text, and which of the files that disable something are there."""

    text: str = ""
    present: frozenset[str] = frozenset()


def read_logs(overlay: Path, source: Source, interrupts: Interrupts, say: Callable[[str], None]) -> GuestLogs:
    """Read them from the overlay of `source`; a guest that cannot be opened has none, which is told and is no error."""
    try:
        with opened(
            overlay,
            source.table,
            name=source.path,
            writable=False,
            image_format="qcow2",
            interrupts=interrupts,
            say=lambda _: None,
        ) as session:
            present = frozenset(path for path in _DISABLERS if files.is_file(session.guest, path))
            return GuestLogs("\n".join(_log(session.guest, path) for path in _LOGS), present)
    except ImgfixError as error:
        say(f"the guest's logs cannot be read: {error.message}")
        return GuestLogs()


def _log(guest: Tree, path: str) -> str:
    if not files.is_file(guest, path):
        return ""
    return f"== {path}\n{files.read_text(guest, path)[-_TAIL:]}"
