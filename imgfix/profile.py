"""Profiles: the wanted state of a guest, as frozen models. Loading them from files is in profile_load."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from imgfix.packaging import want
from imgfix.profile_tables import Argv, Command, CommandName, File, GuestPath, Platforms, Secrets
from imgfix.textedit import kernel_args


class Mode(str, Enum):
    """generalized: an image for many VMs, provisioned at first boot. specialized: this very VM, moved."""

    GENERALIZED = "generalized"
    SPECIALIZED = "specialized"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


ABSOLUTE = r"^/"
SERIAL_PORT = r"^tty[A-Za-z]+[0-9]+$"
INTERFACE = r"^[A-Za-z][A-Za-z0-9_-]{0,14}$"
VERSION_NUMBER = r"^[0-9]+(\.[0-9]+)*$"
HOST_NAME = r"^[A-Za-z0-9][A-Za-z0-9.-]*$"

Words = Annotated[tuple[str, ...], BeforeValidator(_tuple)]
AbsolutePath = Annotated[str, Field(pattern=ABSOLUTE)]


def _deep(path: str) -> str:
    first, *rest = [part for part in path.split("/") if part] or ["/"]
    if ".." in rest or any(c in first for c in "*?[") or (not rest and first in _SYSTEM):
        raise ValueError("a path within a folder of the system is needed: this would take the guest along")
    return path


def _below_home(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/") or path in ("", ".", "*"):
        raise ValueError("a path below a home folder is needed, relative to it")
    return path


#: The folders of a Linux (hier(7)), which no profile may remove as a whole.
_SYSTEM = frozenset(
    {"/", "..", "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt"}
    | {"opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"}
)

DeepPaths = Annotated[tuple[Annotated[AbsolutePath, AfterValidator(_deep)], ...], BeforeValidator(_tuple)]
BelowHomes = Annotated[tuple[Annotated[str, AfterValidator(_below_home)], ...], BeforeValidator(_tuple)]


class AddRemove(_Section):
    """A list that a profile edits. A profile that extends another adds to both sides; what it adds is no longer
    removed, and what it removes is no longer added."""

    add: Words = Field((), description="what the guest shall have")
    remove: Words = Field((), description="what the guest shall not have; * and ? stand for anything")

    @model_validator(mode="after")
    def _is_consistent(self) -> AddRemove:
        both = [word for word in self.add if word in self.remove]
        if both:
            raise ValueError(f"{both[0]} is both to be added and to be removed")
        return self


_VERSION = r"\s*(>=|<=|==|<|>)\s*[0-9]+(\.[0-9]+)*\s*"
VERSIONS = rf"^({_VERSION}([,|]{_VERSION})*)?$"


class Match(_Section):
    """Which guests the profile is for."""

    family: str = Field(description="debian, ubuntu, rhel, fedora, suse, amazon, azurelinux")
    version: str = Field(
        "",
        pattern=VERSIONS,
        description="versions of the distribution: '>=7', '>=6.4,<7' for both conditions, '==2 | >=2022' for either; "
        "a derivative counts as what it is made from",
    )


class Disk(_Section):
    """Limits of the disk's size (R4)."""

    warn_gib: int = Field(1023, ge=1, le=1 << 16, description="warn of a disk above this many GiB")
    gen1_max_gib: int = Field(
        2048, ge=1, le=1 << 16, description="refuse a disk above it that boots by BIOS alone; GiB"
    )
    gen2_max_gib: int = Field(
        4095, ge=1, le=1 << 16, description="refuse a disk above it that boots by UEFI; GiB"
    )
    min_mib: int = Field(20, ge=1, le=1 << 20, description="refuse a disk below this many MiB")


class Initramfs(_Section):
    """Drivers that every kernel's initramfs must hold (R10)."""

    drivers: Words = Field((), description="modules that every initramfs must hold")
    method: Literal["auto", "rebuild", "append"] = Field(
        "auto",
        description="rebuild: run the guest's generator; append: put what is missing behind the image, in seconds "
        "without KVM; auto: append where the appliance runs without KVM",
    )
    backup: bool = Field(
        True, description="keep the previous image beside the new one, with .bak behind its name"
    )


class Firmware(_Section):
    """Generation 1 (BIOS) and Generation 2 (UEFI) (R2)."""

    removable_loader: bool = Field(
        True,
        description="put the loader at the path of removable media, from what is on the EFI system partition",
    )
    require: Literal["any", "gen1", "gen2", "both"] = Field(
        "any", description="as which generation of VM the image must boot"
    )


class KernelModules(_Section):
    """Modules that every kernel must be able to load (R3, R10, R12)."""

    required: Words = Field((), description="modules that every kernel must have, built in or loadable")
    wanted: Words = Field((), description="modules that must not be disabled where a kernel has them")
    enable: bool = Field(
        True, description="remove what keeps them from loading, in modprobe.d and on the kernel command line"
    )
    udf: Literal["auto", "required", "optional"] = Field(
        "auto",
        description="a guest without udf: an error (required), nothing (optional), or advice where cloud-init 21.2 "
        "or later provisions (auto)",
    )

    @property
    def named(self) -> tuple[str, ...]:
        """Both lists, each module once."""
        return tuple(dict.fromkeys((*self.required, *self.wanted)))


class Packages(AddRemove):
    """Packages that the guest needs (R13, R16, R17) and those it shall not have (R9).

    `remove` drops what a profile below adds; `purge` removes packages from the guest.
    """

    add: Words = Field(
        (),
        description="what the guest shall have: NAME, NAME (>= VERSION), or NAME | OTHER for what has several names",
    )
    missing: Literal["install", "warn", "error"] = Field(
        "install",
        description="install from --packages or the guest's own repositories, go on with a warning, or stop",
    )
    purge: Words = Field(
        (), description="packages to remove from the guest, with what needs them; * and ? stand for anything"
    )

    @property
    def wants(self) -> tuple[want.Want, ...]:
        """What `add` asks for."""
        return tuple(want.parse(word) for word in self.add)

    @model_validator(mode="after")
    def _is_possible(self) -> Packages:
        for word in self.add:  # parse raises ValueError on what is no package
            if want.matches(word, self.purge):
                raise ValueError(f"{word} is both to be added and to be purged; name it under remove, too")
        if any(not pattern.strip("*?") for pattern in self.purge):
            raise ValueError("purge would remove every package; name them")
        return self


class Swap(_Section):
    """Swap space (R7, R18, R22)."""

    remove: bool = Field(True, description="remove swap from the OS disk, with every reference to it")
    resource_disk: Literal["none", "waagent", "cloud-init"] = Field(
        "none", description="who makes swap on the temporary disk that Azure attaches"
    )
    size_mib: int = Field(2048, ge=1, le=1 << 20, description="size of that swap in MiB; for waagent")
    percent: int = Field(
        33, ge=1, le=90, description="that swap's share of the temporary disk in percent; for cloud-init"
    )


class Provisioning(_Section):
    """Who sets the VM up at first boot (R19). A specialized image is never provisioned."""

    agent: Literal["cloud-init", "waagent", "disabled"] = Field(
        "cloud-init", description="cloud-init, waagent, or disabled"
    )


class CloudInit(_Section):
    """cloud-init's configuration (R20, R21, R23)."""

    datasources: Words = Field(
        ("Azure",), min_length=1, description="the only places cloud-init looks for its data"
    )
    apply_network_config: bool = Field(False, description="take the network configuration from Azure's IMDS")
    init_modules: Words = Field(
        ("disk_setup", "mounts"), description="modules that run in the init stage, before services start"
    )
    output: str = Field("| tee -a /var/log/cloud-init-output.log", description="where stdout and stderr go")
    locale: str | None = Field(
        "keep",
        description="the locale set at first boot; keep: the guest's own, else C.UTF-8; null: cloud-init's",
    )
    disablers: DeepPaths = Field((), description="files that keep cloud-init from using Azure; globs")


class Waagent(_Section):
    """The Azure Linux Agent's configuration (R13, R18, R19)."""

    config: AbsolutePath = Field("/etc/waagent.conf", description="its configuration file")
    values: dict[str, str] = Field(
        default_factory=dict, description="keys to set in it, spelled as the agent does"
    )
    supported: str = Field(
        "2.2.53.1",
        pattern=VERSION_NUMBER,
        description="the oldest version that Azure supports; an older one is told to update itself",
    )


class Services(_Section):
    """Units that start at boot (R13, R16, R26)."""

    enable: dict[str, Words | None] = Field(
        default_factory=dict,
        description="what must start, and the unit names that do it; the first that exists is enabled; null: none",
    )
    optional: Words = Field((), description="what of `enable` the guest may lack: advice instead of an error")
    serial_console: str | None = Field(
        "ttyS0", pattern=SERIAL_PORT, description="the serial port with a login; null: none"
    )


class Ssh(_Section):
    """The SSH server (R16, R24)."""

    generate_host_keys: bool = Field(
        True,
        description="make missing host keys when the server starts; waagent restarts it too late for that",
    )


class Generalize(_Section):
    """What makes an image of a machine (R9, R24); done in generalized mode only."""

    remove: DeepPaths = Field((), description="files and folders to remove; globs")
    empty: DeepPaths = Field((), description="files to keep but empty; globs")
    user_files: BelowHomes = Field((), description="files to remove from every home, relative to it; globs")
    users: Words = Field((), description="accounts to remove, with their homes")
    provisioned_user: bool = Field(
        True,
        description="also remove the account that the Azure Linux Agent had made, as waagent -deprovision+user does",
    )
    authorized_keys: Literal["keep", "remove"] = Field(
        "keep", description="the keys by which accounts that stay may log in"
    )
    lock: Words = Field((), description="accounts whose password is locked")
    hostname: str | None = Field(
        "localhost.localdomain",
        pattern=HOST_NAME,
        description="the host name until provisioning",
    )
    machine_id: bool = Field(True, description="empty the machine id, so that each VM makes its own")
    resolv_conf: bool = Field(
        True, description="remove /etc/resolv.conf unless it is a link; the DHCP client makes it anew"
    )


class KernelArgs(AddRemove):
    """The kernel command line (R6, R14)."""

    @model_validator(mode="after")
    def _is_possible(self) -> KernelArgs:
        kernel_args.edit("", add=self.add, remove=self.remove)  # raises ValueError on what contradicts itself
        return self


class Grub(_Section):
    """GRUB's own menu, before the kernel starts (R26)."""

    serial: bool = Field(
        True,
        description="show the menu on the serial port of services.serial_console too, if that is a ttyS",
    )
    timeout: int | None = Field(
        None, ge=0, le=3600, description="seconds until the default entry boots; null: as the guest has it"
    )


class Fstab(_Section):
    """/etc/fstab and /etc/crypttab."""

    by_uuid: bool = Field(
        True, description="name file systems by UUID where a disk name such as /dev/sda1 stands"
    )


class Network(_Section):
    """The guest's own network configuration, in every network manager that it has."""

    dhcp: bool = Field(
        True,
        description="drop what describes the old machine's NICs, told in the report, and have the first NIC do DHCP; "
        "false: leave the network alone",
    )
    interface: str = Field("eth0", pattern=INTERFACE, description="the first NIC's name on Azure")
    keep_static: bool = Field(
        False, description="leave a manager's configuration alone where it has static addresses"
    )
    sriov_rule: bool = Field(
        True, description="have managers leave alone the SR-IOV NICs of accelerated networking"
    )


class Leftovers(_Section):
    """Files of the old machine that break the new one, removed in both modes."""

    remove: DeepPaths = Field((), description="files and folders to remove; globs")


class Profile(_Section):
    """A whole profile, after `extends` and `--set`."""

    name: str = Field(description="the profile's name")
    description: str = Field("", description="one line for `imgfix profile list`")
    match: Match | None = Field(None, description="the guests it is for; without it: any")
    mode: Mode = Field(Mode.GENERALIZED, strict=False, description="generalized or specialized")
    disk: Disk = Disk()
    kernel_args: KernelArgs = KernelArgs()
    grub: Grub = Grub()
    initramfs: Initramfs = Initramfs()
    kernel_modules: KernelModules = KernelModules()
    firmware: Firmware = Firmware()
    packages: Packages = Packages()
    swap: Swap = Swap()
    fstab: Fstab = Fstab()
    provisioning: Provisioning = Provisioning()
    cloud_init: CloudInit = CloudInit()
    waagent: Waagent = Waagent()
    services: Services = Services()
    ssh: Ssh = Ssh()
    network: Network = Network()
    leftovers: Leftovers = Leftovers()
    platforms: Platforms = Platforms()
    files: dict[GuestPath, File | None] = Field(
        default_factory=dict,
        description="files that the guest shall have, by their paths; null: not this one",
    )
    commands: dict[CommandName, Command | None] = Field(
        default_factory=dict,
        description="commands of the guest to run once, by what they are for; null: not this one",
    )
    first_boot: dict[CommandName, Argv | None] = Field(
        default_factory=dict,
        description="commands that the VM runs once, at its first boot, by what they are for; null: not this one",
    )
    generalize: Generalize = Generalize()
    secrets: Secrets = Secrets()

    @property
    def generalized(self) -> bool:
        """Tell whether the image is for many VMs."""
        return self.mode is Mode.GENERALIZED

    @property
    def drivers(self) -> tuple[str, ...]:
        """Every kernel module that a step asks about."""
        return tuple(dict.fromkeys((*self.initramfs.drivers, *self.kernel_modules.named)))

    @property
    def provisioner(self) -> str:
        """Who provisions: cloud-init, waagent, or disabled, which a specialized image always is."""
        return self.provisioning.agent if self.generalized else "disabled"

    def for_appliance(self, *, emulated: bool, on_host: bool = False) -> Profile:
        """Return the profile with what is `auto` decided: without KVM it is append, but for rebuilds `on_host`."""
        if self.initramfs.method != "auto":
            return self
        method: Literal["rebuild", "append"] = "append" if emulated and not on_host else "rebuild"
        return self.model_copy(update={"initramfs": self.initramfs.model_copy(update={"method": method})})
