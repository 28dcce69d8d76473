"""cloud-init and the network: a `network` key in its configuration wins over its datasource.

https://docs.cloud-init.io/en/latest/reference/network-config.html
"""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, Remove
from imgfix.errors import GuestError
from imgfix.steps.edit import parsing, written
from imgfix.steps.network.interface import flattened
from imgfix.textedit import cloudcfg
from imgfix.tree import Tree

CONFIG = "/etc/cloud/cloud.cfg"
FOLDER = "/etc/cloud/cloud.cfg.d"
FILE = f"{FOLDER}/99-imgfix-network.cfg"

#: cloud-init's own, left behind with the DNS servers of the old network: NetworkManager would not take Azure's.
LEFTOVER = "/etc/NetworkManager/conf.d/99-cloud-init.conf"

_TEXT = "# imgfix: the guest's own configuration does DHCP\nnetwork: {config: disabled}\n"


def disabled(tree: Tree, *, wanted: bool) -> Iterator[Decision]:
    """Yield what drops the old machine's network from cloud-init's configuration.

    Where `wanted`, cloud-init shall write no configuration of its own: two stanzas for eth0 would make
    ifup start two DHCP clients, of which the second fails. Raises GuestError for a setting that cannot be taken out.
    """
    if not files.is_file(tree, CONFIG):
        return
    for path in (CONFIG, *files.glob(tree, f"{FOLDER}/*.cfg")):
        if path == FILE or not files.is_file(tree, path):
            continue
        with parsing(path):
            data = cloudcfg.top_level(files.read_text(tree, path))
        network = data.get("network")
        if not network:
            continue
        told = flattened(network, frozenset({"version"})) if isinstance(network, dict) else (str(network),)
        if set(data) == {"network"} and path != CONFIG:
            if told != ("config=disabled",):
                yield Advice(f"{path} is dropped: {', '.join(told)}")
            yield Remove(path, "cloud-init would set the old machine's network up")
        elif not wanted or path > FILE:
            raise GuestError(
                f"{path}: its network wins over {FILE}, and it sets {', '.join(sorted(set(data) - {'network'}))} too",
                hint="take network out of it, or leave the network alone: --set network.dhcp=false",
            )
        elif told != ("config=disabled",):
            yield Advice(f"{path}: its network is not used: {', '.join(told)}")
    if wanted:
        yield written(
            tree, FILE, _TEXT, reason="cloud-init leaves the network to the guest's own configuration"
        )
    elif files.is_file(tree, FILE):
        yield Remove(FILE, "cloud-init takes the network from Azure")


def leftover(tree: Tree) -> Iterator[Decision]:
    """Yield the removal of cloud-init's own NetworkManager configuration, which generalizing removes as well."""
    if files.is_file(tree, LEFTOVER):
        yield Remove(LEFTOVER, "cloud-init wrote it for the old machine's DNS servers")
