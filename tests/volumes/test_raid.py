"""Names of arrays: from the superblock, and from the guest's mdadm.conf."""

from __future__ import annotations

import pytest

from imgfix.facts.model import Array
from imgfix.volumes.raid import named

UUID = "6b1f0c52:9e4d7a38:c5b2e180:4f7d3a96"


@pytest.mark.parametrize(
    ("conf", "names"),
    [
        (f"ARRAY /dev/md0 UUID={UUID}\n", ("/dev/md0", "/dev/md/own")),
        (f"array md0 metadata=1.2 name=web:0 uuid={UUID.upper()}", ("/dev/md/md0", "/dev/md/own")),
        (
            f"ARRAY /dev/md/root level=raid1\n\tnum-devices=2\n  UUID={UUID}\n",
            ("/dev/md/root", "/dev/md/own"),
        ),
        (f"ARRAY UUID={UUID}\n", ("/dev/md/own",)),
        (f"# ARRAY /dev/md0 UUID={UUID}\n", ("/dev/md/own",)),
        ("ARRAY /dev/md9 UUID=00000000:00000000:00000000:00000000\nMAILADDR root\n", ("/dev/md/own",)),
        (f"ARRAY /dev/md/own UUID={UUID}\nARRAY /dev/md1 UUID={UUID}", ("/dev/md/own", "/dev/md1")),
    ],
)
def test_mdadm_conf_names_arrays(conf: str, names: tuple[str, ...]) -> None:
    (array,) = named([Array("/dev/md127", "raid1", 1, 2, ("/dev/md/own",), UUID)], conf)
    assert array.names == names
