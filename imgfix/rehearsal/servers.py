"""The host's side of Azure: WireServer, HostGAPlugin and the instance metadata service, as far as the agents use them.

Protocol: what cloud-init's `sources/helpers/azure.py` and the agent's `common/protocol/wire.py` send and parse.
https://github.com/canonical/cloud-init https://github.com/Azure/WALinuxAgent
"""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from imgfix.rehearsal.events import Kind
from imgfix.rehearsal.identity import ADDRESS, IMDS, SUBNET, WIRESERVER, Identity

_HOST_PLUGIN_PORT = 32526
_VERSIONS = (
    '<?xml version="1.0" encoding="utf-8"?><Versions><Preferred><Version>2015-04-05</Version></Preferred>'
    "<Supported><Version>2015-04-05</Version><Version>2012-11-30</Version></Supported></Versions>"
)
#: The agents' words for a report that is no success.
_FAILED = "ProvisioningFailed"


class Servers:
    """All of them, one thread each; what they are asked is told to `tell`."""

    def __init__(self, identity: Identity, tell: Callable[[Kind, str], None]) -> None:
        self._identity = identity
        self._tell = tell

    def start(self) -> None:
        """Listen at Azure's addresses, which must be this namespace's."""
        handlers: tuple[tuple[str, int, type[_Handler]], ...] = (
            (WIRESERVER, 80, _WireServer),
            (WIRESERVER, _HOST_PLUGIN_PORT, _HostPlugin),
            (IMDS, 80, _Metadata),
        )
        for address, port, handler in handlers:
            server = _Server((address, port), handler)
            server.identity, server.tell = self._identity, self._tell
            threading.Thread(target=server.serve_forever, daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    identity: Identity
    tell: Callable[[Kind, str], None]

    def handle_error(self, request: object, client_address: object) -> None:
        """A guest that hangs up, or sends what is no HTTP, is no fault of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 600

    @property
    def identity(self) -> Identity:
        """The VM."""
        assert isinstance(self.server, _Server)
        return self.server.identity

    def tell(self, kind: Kind, text: str) -> None:
        """Say what an agent did."""
        assert isinstance(self.server, _Server)
        self.server.tell(kind, text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr; what matters is an event."""

    def answer(self, status: int, body: str = "", kind: str = "text/xml; charset=utf-8") -> None:
        """Send a whole answer."""
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @property
    def agent(self) -> str:
        """Who asks, by its User-Agent: cloud-init, or waagent with whatever it calls itself."""
        name = self.headers.get("User-Agent", "")
        return "cloud-init" if "cloud-init" in name.lower() else "waagent"

    def body(self) -> bytes:
        """Return what was posted."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self) -> None:
        """Answer a GET by path."""
        self.get(urlsplit(self.path).path, parse_qs(urlsplit(self.path).query, keep_blank_values=True))

    def do_POST(self) -> None:
        """Answer a POST by path."""
        data = self.body()
        self.post(urlsplit(self.path).path, parse_qs(urlsplit(self.path).query), data)

    do_PUT = do_POST  # noqa: N815 - the name is http.server's

    def get(self, path: str, query: dict[str, list[str]]) -> None:
        """To be overridden."""
        self.answer(404)

    def post(self, path: str, query: dict[str, list[str]], data: bytes) -> None:
        """Take whatever is reported."""
        self.answer(200)


class _WireServer(_Handler):
    def get(self, path: str, query: dict[str, list[str]]) -> None:
        """Versions, the goal state and what it points to."""
        what = query.get("comp", [""])[0]
        what = query.get("type", [""])[0] if what == "config" else what
        documents = {
            "versions": _VERSIONS,
            "goalstate": self._goal_state(),
            "hostingEnvironmentConfig": self._hosting_environment(),
            "sharedConfig": self._shared_config(),
            "extensionsConfig": _EXTENSIONS,
        }
        if what == "goalstate":
            self.tell(Kind.WIRESERVER, f"{self.agent} asks for the goal state")
        if what in documents:
            self.answer(200, documents[what])
        else:
            self.answer(404)

    def post(self, path: str, query: dict[str, list[str]], data: bytes) -> None:
        """Health reports are what the rehearsal waits for."""
        what = query.get("comp", [""])[0]
        if what == "health":
            kind, text = health(data)
            self.tell(kind, f"{self.agent} reports {text}")
        self.answer(202 if what == "roleProperties" else 200)

    def _goal_state(self) -> str:
        base = f"http://{WIRESERVER}:80/machine/{self.identity.container_id}/{self.identity.instance}"
        links = "".join(
            f"<{tag}>{base}?comp=config&amp;type={kind}&amp;incarnation=1</{tag}>"
            for tag, kind in (
                ("HostingEnvironmentConfig", "hostingEnvironmentConfig"),
                ("SharedConfig", "sharedConfig"),
                ("ExtensionsConfig", "extensionsConfig"),
            )
        )
        return (
            '<?xml version="1.0" encoding="utf-8"?><GoalState><Version>2012-11-30</Version>'
            "<Incarnation>1</Incarnation><Machine><ExpectedState>Started</ExpectedState>"
            "<StopRolesDeadlineHint>300000</StopRolesDeadlineHint><LBProbePorts><Port>16001</Port></LBProbePorts>"
            "<ExpectHealthReport>FALSE</ExpectHealthReport></Machine><Container>"
            f"<ContainerId>{self.identity.container_id}</ContainerId><RoleInstanceList><RoleInstance>"
            f"<InstanceId>{self.identity.instance}</InstanceId><State>Started</State><Configuration>{links}"
            f"<ConfigName>{self.identity.container_id}.0.{self.identity.container_id}.0.{self.identity.instance}.1.xml"
            "</ConfigName></Configuration></RoleInstance></RoleInstanceList></Container></GoalState>"
        )

    def _hosting_environment(self) -> str:
        name = self.identity.instance
        return (
            '<?xml version="1.0" encoding="utf-8"?><HostingEnvironmentConfig version="1.0.0.0" '
            'goalStateIncarnation="1">'
            f'<Deployment name="{self.identity.container_id}" guid="{{{self.identity.container_id}}}" incarnation="1">'
            f'<Service name="{name}" guid="{{00000000-0000-0000-0000-000000000000}}"/></Deployment>'
            f'<Role guid="{{{self.identity.vm_id}}}" name="{self.identity.host_name}" settleTimeSeconds="0"/>'
            f'<Incarnation number="1" instance="{name}" guid="{{{self.identity.vm_id}}}"/></HostingEnvironmentConfig>'
        )

    def _shared_config(self) -> str:
        name = self.identity.instance
        return (
            '<?xml version="1.0" encoding="utf-8"?><SharedConfig version="1.0.0.0" goalStateIncarnation="1">'
            f'<Deployment name="{self.identity.container_id}" guid="{{{self.identity.container_id}}}" incarnation="0"/>'
            f'<Incarnation number="1" instance="{name}" guid="{{{self.identity.vm_id}}}"/><Role '
            f'guid="{{{self.identity.vm_id}}}" name="{self.identity.host_name}" settleTimeSeconds="0"/>'
            f'<Instances><Instance id="{name}" address="{ADDRESS}"/></Instances></SharedConfig>'
        )


class _HostPlugin(_Handler):
    def get(self, path: str, query: dict[str, list[str]]) -> None:
        """It is there and has no settings: the agent then takes the WireServer's goal state."""
        if path == "/versions":
            self.answer(200, '["2015-09-01"]', "application/json")
        elif path == "/health":
            self.answer(200, "", "text/plain")
        else:
            self.answer(404)


class _Metadata(_Handler):
    def get(self, path: str, query: dict[str, list[str]]) -> None:
        """The instance document or a branch of it; a request without the header is refused, as Azure does."""
        if self.headers.get("Metadata", "").lower() != "true":
            self.answer(
                400, '{"error":"Bad request. Required metadata header not specified"}', "application/json"
            )
            return
        document: object = {"instance": self._instance()}
        for name in [part for part in path.removeprefix("/metadata").split("/") if part]:
            document = document.get(name) if isinstance(document, dict) else None
        if document is None:
            self.answer(404, '{"error":"Not found"}', "application/json")
            return
        self.tell(Kind.IMDS, f"{self.agent} asks for {path.removeprefix('/metadata')}")
        self.answer(200, json.dumps(document), "application/json; charset=utf-8")

    def _instance(self) -> dict[str, object]:
        who = self.identity
        key = {"keyData": who.public_key.strip(), "path": f"/home/{who.user}/.ssh/authorized_keys"}
        profile = {
            "adminUsername": who.user,
            "computerName": who.host_name,
            "disablePasswordAuthentication": "true",
        }
        compute = {
            "azEnvironment": "AzurePublicCloud", "location": "westeurope", "name": who.host_name, "offer": "",
            "osProfile": profile, "osType": "Linux", "placementGroupId": "", "plan": {}, "platformFaultDomain": "0",
            "platformUpdateDomain": "0", "provider": "Microsoft.Compute", "publicKeys": [key], "publisher": "",
            "resourceGroupName": "rehearsal", "resourceId": f"/subscriptions/{who.vm_id}/{who.host_name}", "sku": "",
            "storageProfile": {}, "subscriptionId": who.vm_id, "tags": "", "tagsList": [], "userData": "",
            "version": "", "vmId": who.vm_id, "vmScaleSetName": "", "vmSize": "Standard_B1s", "zone": "",
        }  # fmt: skip
        subnet = {"address": SUBNET.partition("/")[0], "prefix": SUBNET.partition("/")[2]}
        ipv4 = {
            "ipAddress": [{"privateIpAddress": ADDRESS, "publicIpAddress": ""}],
            "subnet": [subnet],
        }
        card = {"ipv4": ipv4, "ipv6": {"ipAddress": []}, "macAddress": who.mac.replace(":", "").upper()}
        return {"compute": compute, "network": {"interface": [card]}}


def health(report: bytes) -> tuple[Kind, str]:
    """Return what a health report means, and its words; only ProvisioningFailed is a failure."""
    text = report.decode(errors="replace")
    state, status, why = (_element(text, name) for name in ("State", "SubStatus", "Description"))
    if state == "Ready":
        return Kind.READY, "Ready"
    words = ": ".join(word for word in (state, status, why) if word)
    return (Kind.FAILED if status == _FAILED else Kind.NOT_READY), words or "health without a state"


def _element(text: str, name: str) -> str:
    """By a pattern: a guest's XML is not worth a parser that expands entities."""
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return html.unescape(found[1]).strip() if found else ""


_EXTENSIONS = (
    '<?xml version="1.0" encoding="utf-8"?><Extensions version="1.0.0.0" goalStateIncarnation="1">'
    '<GuestAgentExtension xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><GAFamilies><GAFamily><Name>Prod</Name>'
    "<Uris/></GAFamily></GAFamilies></GuestAgentExtension><Plugins/><PluginSettings/></Extensions>"
)
