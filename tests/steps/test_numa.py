"""R6: kernels before 2.6.37, and Red Hat's before 2.6.32-504 (RHEL 6.6), need numa=off; others must not have it.

https://learn.microsoft.com/en-us/azure/virtual-machines/linux/create-upload-generic
"""

from __future__ import annotations

import pytest

from imgfix.steps.command_line import needs_numa_off


@pytest.mark.parametrize(
    "release",
    [
        "2.6.32-431.el6.x86_64",  # RHEL 6.5
        "2.6.32-503.99.9.el6.x86_64",
        "2.6.32-71.el6.i686",  # RHEL 6.0
        "2.6.18-398.el5",
        "2.6.32-400.37.15.el6uek.x86_64",  # Oracle's UEK 1
        "2.6.32-5-amd64",  # Debian 6
        "2.6.32.59-0.19-default",  # SLES 11 SP1
        "2.6.27.19-5-default",  # SLES 11
        "2.6.35-32-server",  # Ubuntu 10.10
        "2.6.35.14-107.1.39.amzn1.x86_64",
        "2.6.32-042stab145.3",  # OpenVZ: custom, whatever it is made from
        "2.6.36.4",
    ],
)
def test_old(release: str) -> None:
    assert needs_numa_off(release)


@pytest.mark.parametrize(
    "release",
    [
        "2.6.32-504.el6.x86_64",  # RHEL 6.6
        "2.6.32-504.1.3.el6.centos.plus.x86_64",
        "2.6.32-754.35.1.el6.x86_64",
        "2.6.39-400.294.3.el6uek.x86_64",  # Oracle's UEK 2
        "2.6.37",
        "2.6.37.6-24-default",  # openSUSE 11.4
        "2.6.38-8-server",
        "3.0.101-108.138-default",  # SLES 11 SP4
        "3.0.0-32-server",
        "3.10.0-1160.el7.x86_64",
        "3.10.108-1.el6.elrepo.x86_64",
        "4.18.0-553.el8_10.x86_64",
        "5.14.21-150500.55.52-default",
        "6.1.0-18-cloud-amd64",
        "6.10.3",
    ],
)
def test_new(release: str) -> None:
    assert not needs_numa_off(release)
