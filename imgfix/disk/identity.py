"""Timestamp and UUID of a footer, the same on every run: twice apply is the same bytes as once."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from imgfix.disk.source import Source
from imgfix.disk.vhd import EPOCH, LATEST_TIMESTAMP
from imgfix.errors import UsageError

VARIABLE = "SOURCE_DATE_EPOCH"
#: The name space of the derived UUIDs, itself derived from the tool's name.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "imgfix")


class FooterIdentity(NamedTuple):
    """`timestamp` in unix seconds, within what a VHD can hold."""

    timestamp: int
    unique_id: uuid.UUID


def footer_identity(source: Source, environ: Mapping[str, str]) -> FooterIdentity:
    """Return what the footer of the output shall carry; stable across runs.

    Timestamp: SOURCE_DATE_EPOCH where set (https://reproducible-builds.org/specs/source-date-epoch/), else
    a VHD source's own, else the source's modification time; moved into what the format holds (2000 to 2136).
    UUID: a VHD source's own, else one derived from the disk's identity (GPT disk GUID or MBR signature) and
    its size. So a fixed VHD applied again keeps its footer, with the variable set alike or not set.
    Raises UsageError for a SOURCE_DATE_EPOCH that is not a number of seconds.
    """
    stamp = _from_environment(environ)
    if stamp is None:
        stamp = source.footer.timestamp if source.footer else source.stamp.mtime_ns // 1_000_000_000
    return FooterIdentity(min(max(stamp, EPOCH), LATEST_TIMESTAMP), _unique_id(source))


def _from_environment(environ: Mapping[str, str]) -> int | None:
    text = environ.get(VARIABLE, "")
    # Container builds pass the variable on empty when it is not set outside.
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise UsageError(
            f"{VARIABLE}={text!r} is not a number of seconds since 1970",
            hint=f"for example {VARIABLE}=$(git log -1 --format=%ct), or unset it",
        )
    return int(text)


def _unique_id(source: Source) -> uuid.UUID:
    if source.footer:
        return source.footer.unique_id
    return uuid.uuid5(_NAMESPACE, f"{source.table.scheme}:{source.table.identity}:{source.size}")
