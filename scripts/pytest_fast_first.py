"""A plugin of pytest for scripts/test: tests that launch an appliance come last, and the longest of them first."""

from __future__ import annotations

import pytest

#: Groups (xdist_group) that come before the others. Each of the two workers holds two of them, so that it may be the
#: third or the fourth that begins beside the first: where both wait for one disk to be made, one worker has nothing to
#: do meanwhile, and so those that share a disk lie far apart.
LONGEST = (
    "debian12-bios",
    "el9-bios",
    "additions",
    "suse",
    "ubuntu",
    "el8",
    "debian12-uefi",
    "el9",
    "debian12",
)


def _place(item: pytest.Item) -> int:
    if item.get_closest_marker("appliance") is None:
        return -1
    marker = item.get_closest_marker("xdist_group")
    return LONGEST.index(marker.args[0]) if marker and marker.args[0] in LONGEST else len(LONGEST)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the appliance tests to the end, so that a cheap failure is seen first; the rest stay in order."""
    items.sort(key=_place)
