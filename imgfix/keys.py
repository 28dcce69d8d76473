"""Keys to encrypted volumes: read from files, standard input or the environment, and never shown."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imgfix.errors import HostError, UsageError

#: The environment variable that holds a passphrase.
VARIABLE = "IMGFIX_KEY"

#: What cryptsetup reads of a key file at most, in bytes (cryptsetup(8), NOTES ON PASSPHRASE PROCESSING).
MAX_KEY = 8 << 20


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `origin` is for messages, `content` is secret and in no repr."""

    origin: str
    content: bytes = field(repr=False)

    @property
    def readings(self) -> Iterator[bytes]:
        """What the file may mean: a passphrase with the line end of an editor behind it, or these very bytes."""
        for ending in (b"\r\n", b"\n"):
            if self.content.endswith(ending):
                yield self.content.removesuffix(ending)
                break
        yield self.content


def read_keys(files: Sequence[str], environment: Mapping[str, str]) -> tuple[Key, ...]:
    """Return the keys in `files` (`-` is standard input), and the one in the environment; in that order.

    Raises UsageError for a file that is missing, empty or too large, HostError for one that cannot be read.
    """
    keys = [_read(name) for name in files]
    if given := environment.get(VARIABLE):
        keys.append(Key(f"${VARIABLE}", given.encode("utf-8", "surrogateescape")))
    return tuple(keys)


def _read(name: str) -> Key:
    origin = "--key -" if name == "-" else f"--key {name}"
    try:
        if name == "-":
            content = _typed() if sys.stdin.isatty() else sys.stdin.buffer.read(MAX_KEY + 1)
        else:
            with Path(name).open("rb") as stream:
                content = stream.read(MAX_KEY + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(
            f"{origin}: there is no such file",
            hint=f"--key takes a file with the key or the passphrase, - for standard input; or set {VARIABLE}",
        ) from error
    except OSError as error:
        raise HostError(f"{origin}: the key cannot be read: {error.strerror}") from error
    if not content:
        raise UsageError(f"{origin}: the key is empty", hint="a LUKS key has at least one byte")
    if len(content) > MAX_KEY:
        raise UsageError(f"{origin}: more than {MAX_KEY} bytes; cryptsetup takes no larger key")
    return Key(origin, content)


def _typed() -> bytes:
    """Ask a person at a terminal, who sees nothing of what is typed."""
    return getpass.getpass("passphrase of the encrypted disk: ").encode("utf-8", "surrogateescape")
