"""cloud-init: Azure as the only datasource, nothing that disables it, swap if it makes it (R18 to R21, R23)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop, Remove, WriteFile
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import CloudInit as Settings
from imgfix.profile import Profile
from imgfix.steps import units
from imgfix.steps.edit import edited, parsing, removed, written
from imgfix.textedit import cloudcfg, shellvars
from imgfix.tree import Tree

CONFIG = "/etc/cloud/cloud.cfg"
DROPINS = "/etc/cloud/cloud.cfg.d/*.cfg"
DISABLED = "/etc/cloud/cloud-init.disabled"
DATASOURCE = "/etc/cloud/cloud.cfg.d/91-azure_datasource.cfg"
#: Sorts behind every other name that is in use.
LAST = "/etc/cloud/cloud.cfg.d/zz-imgfix-datasource.cfg"
LOGGING = "/etc/cloud/cloud.cfg.d/05_logging.cfg"
OUTPUT = "/etc/cloud/cloud.cfg.d/95-imgfix-output.cfg"
TELEMETRY = "/etc/cloud/cloud.cfg.d/95-imgfix-telemetry.cfg"
LOCALE = "/etc/cloud/cloud.cfg.d/95-imgfix-locale.cfg"
SWAP = "/etc/cloud/cloud.cfg.d/00-azure-swap.cfg"
SWAP_ENVIRONMENT = "/etc/systemd/system.conf.d/50-imgfix-cloud-cfg.conf"

#: Its stages, old and new names (24.3).
UNITS = (
    *(
        "cloud-init-local.service",
        "cloud-init-main.service",
        "cloud-init.service",
        "cloud-init-network.service",
    ),
    *("cloud-config.service", "cloud-final.service", "cloud-init-hotplugd.socket"),
)
#: What carries cloud-init's telemetry to the host.
KVP_DAEMONS = ("hv-kvp-daemon.service", "hypervkvpd.service", "hv_kvp_daemon.service")

_LOCALES = ("/etc/default/locale", "/etc/locale.conf")
_FALLBACK = "C.UTF-8"


def unwanted_args(profile: Profile) -> tuple[str, ...]:
    """Return the kernel arguments that would keep cloud-init from provisioning."""
    if profile.provisioner != "cloud-init":
        return ()
    return ("cloud-init=disabled", "ds=none", "ds=nocloud*", "ds=None", "ci.datasource=*", "ci.ds=*")


class CloudInit:
    """Configures cloud-init as the provisioning agent, or disables it where it is not to provision."""

    name = "cloud_init"
    requirements = ("R18", "R19", "R20", "R21", "R23")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield edits of cloud.cfg and the drop-ins."""
        if not files.is_file(tree, CONFIG):
            if profile.provisioner == "cloud-init":
                yield Advice(
                    f"{CONFIG} is missing: cloud-init is not installed, so nothing provisions the VM"
                )
            else:
                yield Noop("cloud-init is not installed and not wanted")
            return
        if profile.provisioner != "cloud-init":
            if profile.swap.resource_disk == "cloud-init":
                yield Advice(
                    "swap.resource_disk is cloud-init, but cloud-init does not run: there will be no swap"
                )
            text = f"# imgfix: the provisioning agent is: {profile.provisioner}\n"
            if files.exists(tree, DISABLED):
                yield Noop(f"{DISABLED} is there")
            else:
                yield WriteFile(DISABLED, text.encode(), "cloud-init is not the provisioning agent")
            if profile.provisioner == "waagent":
                # waagent asks systemctl whether the unit is enabled, which the file above does not change, and then
                # refuses to provision:
                # https://github.com/Azure/WALinuxAgent/blob/master/azurelinuxagent/pa/provision/cloudinitdetect.py
                for unit in UNITS:
                    yield from units.disabled(
                        tree, unit, "waagent does not provision while cloud-init is enabled"
                    )
            return
        yield from _configure(profile.cloud_init, tree)
        yield from _swap(profile, facts, tree)


def _configure(settings: Settings, tree: Tree) -> Iterator[Decision]:
    yield from removed(tree, settings.disablers, reason="keeps cloud-init from using Azure")
    yield edited(
        tree,
        CONFIG,
        lambda text: cloudcfg.move_modules(text, settings.init_modules),
        reason=f"{', '.join(settings.init_modules)} run in the init stage",
        settled=f"{', '.join(settings.init_modules)} run in the init stage",
    )
    yield written(tree, DATASOURCE, _datasource(settings), reason="Azure is the only datasource")
    yield from _overriders(tree, settings)
    yield from _output(tree, settings)
    yield from _telemetry(tree)
    if settings.locale is not None:
        locale = f"# imgfix: cloud-init's default fails where it is not generated\nlocale: {_locale(tree, settings)}\n"
        yield written(tree, LOCALE, locale, reason="a locale that the guest has")


def _telemetry(tree: Tree) -> Iterator[Decision]:
    """Turn off what reports by Hyper-V's key-value pairs where no daemon takes them to the host.

    Each event is then a warning in the log. A later file wins, and a handler that is null is unregistered:
    https://github.com/canonical/cloud-init/blob/main/cloudinit/reporting/__init__.py
    """
    names = sorted(name for name, kind in _reporting(tree).items() if kind == "hyperv")
    if not names or units.find(tree, KVP_DAEMONS) is not None:
        yield Noop("telemetry by Hyper-V has its daemon" if names else "no telemetry by Hyper-V")
        return
    text = "# imgfix: the guest has no daemon that takes these events to the host\nreporting:\n"
    yield written(
        tree,
        TELEMETRY,
        text + "".join(f"  {json.dumps(name)}: null\n" for name in names),
        reason="the guest has no hyperv-daemons for cloud-init's telemetry",
    )


def _reporting(tree: Tree) -> dict[str, object]:
    """Return the handlers of events and their types, ours aside."""
    found: dict[str, object] = {}
    for path in (CONFIG, *files.glob(tree, DROPINS)):
        if path != TELEMETRY and files.is_file(tree, path):
            with parsing(path):
                section = cloudcfg.top_level(files.read_text(tree, path)).get("reporting")
            for name, handler in section.items() if isinstance(section, dict) else ():
                found[str(name)] = handler.get("type") if isinstance(handler, dict) else None
    return found


def _datasource(settings: Settings) -> str:
    network = str(settings.apply_network_config).lower()
    return (
        "# imgfix: ask Azure only, and leave the network to the guest's own configuration\n"
        f"datasource_list: [ {', '.join(settings.datasources)} ]\n"
        "datasource:\n"
        "  Azure:\n"
        f"    apply_network_config: {network}\n"
    )


def _overriders(tree: Tree, settings: Settings) -> Iterator[Decision]:
    """A drop-in that sorts behind ours wins: the old cloud's, say. One that only chooses datasources goes.

    Where one sets other things too, Azure is named again behind it.
    """
    for path in files.glob(tree, DROPINS):
        if path <= DATASOURCE or path == LAST or not files.is_file(tree, path):
            continue
        with parsing(path):
            keys = {str(key) for key in cloudcfg.top_level(files.read_text(tree, path))}
        if not keys & {"datasource_list", "datasource"}:
            continue
        if keys <= {"datasource_list", "datasource"}:
            yield Remove(path, "overrides the Azure datasource")
        elif path < LAST:
            yield written(
                tree, LAST, _datasource(settings), reason=f"Azure is the only datasource, behind {path}"
            )
        else:
            raise GuestError(
                f"{path}: its datasource_list overrides {LAST}, and it sets {', '.join(sorted(keys))} too",
                hint="take the datasource out of it, or add it to cloud_init.disablers in the profile",
            )


def _output(tree: Tree, settings: Settings) -> Iterator[Decision]:
    """cloud-init takes `output` from the last file that has it; Debian's 05_logging.cfg has it already."""
    line = f"output: {{all: {json.dumps(settings.output)}}}\n"
    reason = "cloud-init's output goes to a log"
    last, found = _last_output(tree)
    if last is not None and last > OUTPUT and found != {"all": settings.output}:
        yield Advice(f"{last}: its output overrides the log of cloud-init's output that Azure expects")
    elif found == {"all": settings.output}:
        yield Noop(f"cloud-init's output goes to {settings.output!r}")
    elif last is None:
        yield edited(
            tree,
            LOGGING,
            lambda t: t + ("" if not t or t.endswith("\n") else "\n") + line,
            reason=reason,
            settled="",
        )
    else:
        yield written(tree, OUTPUT, line, reason=reason)


def _last_output(tree: Tree) -> tuple[str | None, object]:
    """Return the last file that sets `output`, and what to."""
    last: str | None = None
    value: object = None
    for path in (CONFIG, *files.glob(tree, DROPINS)):
        if files.is_file(tree, path):
            with parsing(path):
                data = cloudcfg.top_level(files.read_text(tree, path))
            if data.get("output") is not None:
                last, value = path, data["output"]
    return last, value


def _locale(tree: Tree, settings: Settings) -> str:
    if settings.locale != "keep":
        return str(settings.locale)
    for path in _LOCALES:
        if files.is_file(tree, path):
            with parsing(path):
                value = shellvars.get(files.read_text(tree, path), "LANG")
            if value and re.fullmatch(r"[A-Za-z0-9_.@-]+", value):
                return value
    return _FALLBACK


def _swap(profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
    if profile.swap.resource_disk != "cloud-init":
        yield from removed(tree, (SWAP, SWAP_ENVIRONMENT), reason="cloud-init makes no swap")
        return
    yield written(
        tree,
        SWAP,
        _swap_config(facts, profile.swap.percent),
        reason="cloud-init makes swap on the resource disk",
    )
    text = f'[Manager]\nDefaultEnvironment="CLOUD_CFG={SWAP}"\n'
    yield written(tree, SWAP_ENVIRONMENT, text, reason="cloud-init makes swap on the resource disk")


def _swap_config(facts: Facts, percent: int) -> str:
    # In hundredths of the disk, of which one is left for what lies before the first partition; 82 is swap's type.
    layout = [99 - percent, [percent, 82]]
    config = {
        "disk_setup": {"ephemeral0": {"table_type": "mbr", "layout": layout, "overwrite": True}},
        "fs_setup": [
            {"device": "ephemeral0.1", "filesystem": "ext4"},
            {"device": "ephemeral0.2", "filesystem": "swap"},
        ],
        "mounts": [
            ["ephemeral0.1", "/mnt/resource"],
            ["ephemeral0.2", "none", "swap", f"sw,nofail,x-systemd.requires={_unit(facts)},"
             "x-systemd.device-timeout=2", "0", "0"],
        ],
    }  # fmt: skip
    return "#cloud-config\n# imgfix: swap on the temporary disk that Azure attaches\n" + yaml.safe_dump(
        config, sort_keys=False, default_flow_style=None, width=1000
    )


def _unit(facts: Facts) -> str:
    """cloud-init.service is called cloud-init-network.service from 24.3 on."""
    package = facts.package("cloud-init")
    numbers = tuple(int(n) for n in re.findall(r"\d+", package.version)[:2]) if package else (0, 0)
    return "cloud-init-network.service" if numbers >= (24, 3) else "cloud-init.service"
