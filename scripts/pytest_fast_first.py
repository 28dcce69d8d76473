"""A plugin of pytest for scripts/test: tests that launch an appliance come last, the rest stay in order."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the appliance tests to the end, so that a cheap failure is seen first."""
    items.sort(key=lambda item: item.get_closest_marker("appliance") is not None)
