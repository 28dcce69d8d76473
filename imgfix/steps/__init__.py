"""Steps: one module a capability. A step yields decisions and never acts.

STEPS is the order in which they plan. Packages are a stage of their own; GRUB comes after whatever edits the
kernel command line or the menu, firmware after GRUB (it may copy a configuration), accounts before the state of the
agent that had made them is gone. The network comes after generalizing, which removes what cloud-init wrote for the old
machine's NICs. The profile's own files come first, so that every other step sees them; its commands behind all steps
whose work they may read. SELinux labels are last: they follow from what all others write.
"""

from __future__ import annotations

from imgfix.steps.agent import Agent
from imgfix.steps.cloud_init import CloudInit
from imgfix.steps.commands import Commands
from imgfix.steps.files import Files
from imgfix.steps.firmware import Firmware
from imgfix.steps.first_boot import FirstBoot
from imgfix.steps.fstab import Fstab
from imgfix.steps.generalize import Generalize
from imgfix.steps.grub import Grub
from imgfix.steps.grub_terminal import GrubTerminal
from imgfix.steps.initramfs import Initramfs
from imgfix.steps.kernel_args import KernelArgs
from imgfix.steps.kernel_modules import KernelModules
from imgfix.steps.leftovers import Leftovers
from imgfix.steps.lvm import Lvm
from imgfix.steps.network import Network
from imgfix.steps.packages import Packages
from imgfix.steps.platforms import Platforms
from imgfix.steps.protocol import Follower, Step
from imgfix.steps.secrets import Secrets
from imgfix.steps.selinux import Selinux
from imgfix.steps.services import Services
from imgfix.steps.ssh import Ssh
from imgfix.steps.storage import StorageAdvice
from imgfix.steps.swap import Swap
from imgfix.steps.users import Users
from imgfix.steps.waagent import Waagent

PACKAGES: Step = Packages()

STEPS: tuple[Step | Follower, ...] = (
    Files(),
    StorageAdvice(),
    Swap(),
    Lvm(),
    Fstab(),
    KernelArgs(),
    KernelModules(),
    Initramfs(),
    GrubTerminal(),
    Grub(),
    Firmware(),
    CloudInit(),
    Agent(),
    Waagent(),
    Services(),
    Ssh(),
    Leftovers(),
    Platforms(),
    Users(),
    Generalize(),
    Network(),
    FirstBoot(),
    Secrets(),
    Commands(),
    Selinux(),
)
