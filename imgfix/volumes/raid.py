"""MD RAID: which arrays the disk has members of, and whether they run. The appliance starts what it can at launch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from imgfix.appliance import Appliance
from imgfix.facts.model import Array


def arrays(appliance: Appliance, members: Sequence[str]) -> tuple[Array, ...]:
    """Return the arrays that the devices `members` belong to, those that do not run included."""
    examined = [_values(appliance, "--examine", member) for member in members]
    running = {
        values.get("MD_UUID", ""): device
        for device in (appliance.call("list_md_devices") if members else ())
        for values in (_values(appliance, "--detail", device),)
        if int(appliance.call("blockdev_getsize64", device))
    }
    found: dict[str, Array] = {}
    for values in examined:
        uuid = values.get("MD_UUID", "")
        known = found.get(uuid) or Array(
            device=running.get(uuid, ""),
            level=values.get("MD_LEVEL", "RAID"),
            present=0,
            wanted=int(values.get("MD_DEVICES", "0") or 0),
            names=_names(values.get("MD_NAME", "")),
            uuid=uuid,
        )
        found[uuid] = replace(known, present=known.present + 1)
    return tuple(found.values())


def named(found: Iterable[Array], conf: str) -> tuple[Array, ...]:
    """Return `found` with the names that mdadm.conf gives the arrays: `ARRAY /dev/md0 UUID=...` (mdadm.conf(5))."""
    given: dict[str, tuple[str, ...]] = {}
    for line in re.sub(r"\n[ \t]+", " ", conf).split("\n"):
        uuid = re.search(r"(?i)\buuid=([0-9a-f:]+)", line)
        device = re.match(r"(?i)array\s+(/dev/\S+|[^\s=]+)(?:\s|$)", line)
        if uuid and device:
            name = device[1] if device[1].startswith("/") else f"/dev/md/{device[1]}"
            given[uuid[1].lower()] = (*given.get(uuid[1].lower(), ()), name)
    return tuple(
        replace(a, names=tuple(dict.fromkeys((*given.get(a.uuid.lower(), ()), *a.names)))) for a in found
    )


def _names(name: str) -> tuple[str, ...]:
    """`web01:0` is /dev/md0 or /dev/md/0 on web01, `web01:root` is /dev/md/root (mdadm(8), "name")."""
    own = name.rpartition(":")[2]
    if not own:
        return ()
    return (f"/dev/md{own}", f"/dev/md/{own}") if own.isdigit() else (f"/dev/md/{own}",)


def _values(appliance: Appliance, verb: str, device: str) -> dict[str, str]:
    _, output = appliance.shell(f"mdadm {verb} --export {device}")
    pairs = (line.partition("=") for line in output.splitlines())
    return {key: value for key, equals, value in pairs if equals}
