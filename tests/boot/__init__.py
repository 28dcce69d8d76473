"""Boot a VHD or a raw disk in QEMU and talk to it over the serial console.

    with Boot(Path("d.vhd"), firmware="uefi") as vm:
        vm.login("tester", "tester")
        print(vm.run("cat /proc/cmdline").output)
        vm.poweroff()

By hand: `python -m tests.boot d.vhd --firmware bios --user tester --password tester -- 'cat /proc/cmdline'`.

The image is never written: the guest works on a qcow2 overlay over it. A VHD is opened as raw and the overlay is 512
bytes shorter than the file, so that the guest sees the disk without its footer. Timeouts are limits for a host
without KVM, never something to assert on.
"""

from tests.boot.machine import ADDRESS
from tests.boot.session import Boot

__all__ = ["ADDRESS", "Boot"]
