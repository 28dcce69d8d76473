"""The guest's own network configuration: DHCP for the first NIC, nothing that names the old machine's.

One module a store of configuration; imgfix.steps.network.step puts them together.
"""

from __future__ import annotations

from imgfix.steps.network.step import Network

__all__ = ["Network"]
