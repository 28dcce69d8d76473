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
from imgfix.steps.edit import edited, parsing, removed, written
from imgfix.textedit import cloudcfg, shellvars
from imgfix.tree import Tree

CONFIG = "/etc/cloud/cloud.cfg"
DROPINS = "/etc/cloud/cloud.cfg.d/*.cfg"
DISABLED = "/etc/cloud/cloud-init.disabled"
DATASOURCE = "/etc/cloud/cloud.cfg.d/91-azure_datasource.cfg"
LOGGING = "/etc/cloud/cloud.cfg.d/05_logging.cfg"
OUTPUT = "/etc/cloud/cloud.cfg.d/95-imgfix-output.cfg"
LOCALE = "/etc/cloud/cloud.cfg.d/95-imgfix-locale.cfg"
SWAP = "/etc/cloud/cloud.cfg.d/00-azure-swap.cfg"
SWAP_ENVIRONMENT = "/etc/systemd/system.conf.d/50-imgfix-cloud-cfg.conf"

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
    yield from _overriders(tree)
    yield from _output(tree, settings)
    if settings.locale is not None:
        locale = f"# imgfix: cloud-init's default fails where it is not generated\nlocale: {_locale(tree, settings)}\n"
        yield written(tree, LOCALE, locale, reason="a locale that the guest has")


def _datasource(settings: Settings) -> str:
    network = str(settings.apply_network_config).lower()
    return (
        "# imgfix: ask Azure only, and leave the network to the guest's own configuration\n"
        f"datasource_list: [ {', '.join(settings.datasources)} ]\n"
        "datasource:\n"
        "  Azure:\n"
        f"    apply_network_config: {network}\n"
    )


def _overriders(tree: Tree) -> Iterator[Decision]:
    """A drop-in that sorts behind ours wins; one that only chooses datasources goes, any other is refused."""
    for path in files.glob(tree, DROPINS):
        if path <= DATASOURCE or not files.is_file(tree, path):
            continue
        with parsing(path):
            keys = {str(key) for key in cloudcfg.top_level(files.read_text(tree, path))}
        if not keys & {"datasource_list", "datasource"}:
            continue
        if keys <= {"datasource_list", "datasource"}:
            yield Remove(path, "overrides the Azure datasource")
        else:
            raise GuestError(
                f"{path}: its datasource_list overrides {DATASOURCE}, and it sets {', '.join(sorted(keys))} too",
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
    yield written(tree, SWAP, _swap_config(facts), reason="cloud-init makes swap on the resource disk")
    text = f'[Manager]\nDefaultEnvironment="CLOUD_CFG={SWAP}"\n'
    yield written(tree, SWAP_ENVIRONMENT, text, reason="cloud-init makes swap on the resource disk")


def _swap_config(facts: Facts) -> str:
    config = {
        "disk_setup": {"ephemeral0": {"table_type": "mbr", "layout": [66, [33, 82]], "overwrite": True}},
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
