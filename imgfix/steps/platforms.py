"""Software of other hypervisors and clouds: kept from starting, and told in the report with what stays (R9).

Which there is, the profile says: one row a product. qemu-guest-agent has none: without its device it does not start.
Packages that can go are gone when this step plans: see purge.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop, Remove
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.profile_tables import Product
from imgfix.steps import initscripts, units
from imgfix.steps.edit import edited, parsing, unfollowed
from imgfix.textedit import fstab, time_sources
from imgfix.tree import Tree

FSTAB = "/etc/fstab"
_CHRONY = (
    *("/etc/chrony.conf", "/etc/chrony/chrony.conf", "/etc/chrony.d/*.conf", "/etc/chrony/conf.d/*.conf"),
    *("/etc/chrony.d/*.sources", "/etc/chrony/sources.d/*.sources"),
)
_NTP = ("/etc/ntp.conf", "/etc/ntpsec/ntp.conf")
_TIMESYNCD = ("/etc/systemd/timesyncd.conf", "/etc/systemd/timesyncd.conf.d/*.conf")
#: https://learn.microsoft.com/azure/virtual-machines/linux/time-sync#chrony
_HOST_CLOCK = "refclock PHC /dev/ptp_hyperv poll 3 dpoll -2 offset 0 stratum 2"


class Platforms:
    """Disables the profile's products and drops what only other platforms provide."""

    name = "platforms"
    requirements = ("R9",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield what keeps each product from starting, advice on what stays, and edits."""
        settings = profile.platforms
        found = False
        for name, product in settings.products.items():
            if product is None:
                continue
            acts = settings.action != "tell" and not product.keep
            present = _present(product, facts, tree)
            found = found or bool(present)
            if acts:
                yield from _kept_from_acting(tree, product, f"{name}: {product.why}")
            if present:
                state = "disabled, not removed" if acts else "left as it is"
                yield Advice(f"{name} ({', '.join(present)}): {state}; {product.why}")
        if not found:
            yield Noop("no software of another platform")
        yield from _time(tree, settings.time_servers)
        yield from _shares(tree, settings.shares)


def unwanted(profile: Profile, facts: Facts) -> tuple[tuple[str, ...], ...]:
    """Return the installed packages of each product that the profile removes."""
    if profile.platforms.action != "remove":
        return ()
    products = [p for p in profile.platforms.products.values() if p is not None and not p.keep]
    found = [tuple(p.name for p in facts.packages if _matches(p.name, one.packages)) for one in products]
    return tuple(names for names in found if names)


def _kept_from_acting(tree: Tree, product: Product, reason: str) -> Iterator[Decision]:
    """Disable what starts it and remove what acts by itself, which agents write and no package manager removes."""
    for pattern in product.units:
        yield from _disabled(tree, pattern, reason)
    for path in (path for pattern in product.remove for path in files.glob(tree, pattern)):
        if unfollowed(tree, path) is not None:
            yield Remove(path, reason)


def _present(product: Product, facts: Facts, tree: Tree) -> tuple[str, ...]:
    """Return what there is of the product: packages, else paths, else units; empty where it is not installed."""
    packages = [p.name for p in facts.packages if _matches(p.name, product.packages)]
    paths = [path for pattern in product.paths for path in files.glob(tree, pattern)]
    names = [unit for pattern in product.units for unit in _services(tree, pattern)]
    return tuple(packages or paths or dict.fromkeys(names))


def _services(tree: Tree, pattern: str) -> tuple[str, ...]:
    """Return the units that match, or else the init script that would be one."""
    script = initscripts.find(tree, [pattern.removesuffix(".service")])
    return units.installed(tree, pattern) or ((script[0],) if script is not None else ())


def _disabled(tree: Tree, pattern: str, reason: str) -> Iterator[Decision]:
    found = units.installed(tree, pattern)
    for unit in found:
        yield from units.disabled(tree, unit, reason)
    script = initscripts.find(tree, [pattern.removesuffix(".service")])
    if script is not None and not found:
        yield from initscripts.disabled(tree, *script, reason=reason)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _time(tree: Tree, servers: Sequence[str]) -> Iterator[Decision]:
    def gone(name: str) -> bool:
        return _matches(name, servers)

    chrony = _existing(tree, _CHRONY)
    for path in (*chrony, *_existing(tree, _NTP)):
        yield edited(
            tree,
            path,
            lambda text: time_sources.without_servers(text, gone),
            reason="a time server that only another platform has",
            settled="names no time server of another platform",
        )
    for path in _existing(tree, _TIMESYNCD):
        yield edited(
            tree,
            path,
            lambda text: time_sources.without_names(text, gone),
            reason="a time server that only another platform has",
            settled="names no time server of another platform",
        )
    if chrony and not any(time_sources.has_source(files.read_text(tree, path)) for path in chrony):
        yield Advice(f"{chrony[0]} names no source of time; for that of Azure's hosts add: {_HOST_CLOCK}")


def _existing(tree: Tree, patterns: Sequence[str]) -> list[str]:
    return [path for pattern in patterns for path in files.glob(tree, pattern) if files.is_file(tree, path)]


def _shares(tree: Tree, types: Sequence[str]) -> Iterator[Decision]:
    """A folder that another hypervisor shared cannot be mounted, and without nofail the boot then stops there."""
    if not types or not files.is_file(tree, FSTAB):
        return
    with parsing(FSTAB):
        entries = [line.entry for line in fstab.parse(files.read_text(tree, FSTAB)) if line.entry]
    names = ", ".join(e.file for e in entries if e.vfstype in types)
    yield edited(
        tree,
        FSTAB,
        lambda text: fstab.remove(text, lambda e: e.vfstype in types),
        reason=f"only another platform provides {names}",
        settled="mounts nothing that only another platform provides",
    )
