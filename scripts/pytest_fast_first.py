"""A plugin of pytest for scripts/test: tests that launch an appliance come last, and the longest of them first."""

from __future__ import annotations

import pytest

#: Groups (xdist_group) that come before the others. Two that wait for the same disk to be made are no neighbours: one
#: of the two workers would have nothing to do meanwhile.
LONGEST = (
    "debian12-bios",
    "el9-bios",
    "debian12-uefi",
    "el9",
    "additions",
    "suse",
    "ubuntu",
    "el8",
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
