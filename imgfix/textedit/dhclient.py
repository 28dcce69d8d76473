"""dhclient.conf: the host name that the DHCP client sends.

Grammar: dhclient.conf(5): `send host-name "NAME";` or an expression behind `=`. What Debian ships, and what follows
the machine's name, is `send host-name = gethostname();`.
"""

from __future__ import annotations

import re

_FIXED = re.compile(r'^([ \t]*send[ \t]+host-name)[ \t]*=?[ \t]*"[^"\n]*"[ \t]*;', re.MULTILINE)


def with_own_host_name(text: str) -> str:
    """Return `text` in which every host name that is sent is the machine's own, whatever it is called."""
    return _FIXED.sub(r"\1 = gethostname();", text)
