"""SysV init scripts: what their comments say of run levels and of the order of start.

chkconfig(8): `# chkconfig: 2345 55 25` means on in levels 2 to 5, started as the 55th, stopped as the 25th; a dash
for the levels means on in none unless asked. Without such a line, insserv(8) takes the levels from the LSB header
(`# Default-Start: 3 5`) and works the order out from dependencies.
"""

from __future__ import annotations

import re

_CHKCONFIG = re.compile(
    r"^#[ \t]*chkconfig:[ \t]*(-|[0-6]+)[ \t]+(\d{1,2})[ \t]+(\d{1,2})[ \t\r]*$", re.MULTILINE
)
_LSB = re.compile(r"^### BEGIN INIT INFO(.*?)^### END INIT INFO", re.MULTILINE | re.DOTALL)
_DEFAULT_START = re.compile(r"^#[ \t]*Default-Start:(.*)$", re.MULTILINE)


def levels(text: str) -> str:
    """Return the run levels in which the service is meant to start, as digits; "" where the script does not say."""
    if match := _CHKCONFIG.search(text):
        return match[1].replace("-", "")
    header = _LSB.search(text)
    start = _DEFAULT_START.search(header[1]) if header else None
    return "".join(word for word in start[1].split() if word in "0123456") if start else ""


def start_number(text: str) -> int | None:
    """Return the number of the service's start link; None where the script leaves the order to be worked out."""
    match = _CHKCONFIG.search(text)
    return int(match[2]) if match else None


def stop_number(text: str) -> int | None:
    """Return the number of the service's stop link, as `start_number`."""
    match = _CHKCONFIG.search(text)
    return int(match[3]) if match else None
