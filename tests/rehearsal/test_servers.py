"""Azure's servers, asked over real sockets in a real namespace, as the rehearsal's own process has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgfix.rehearsal.events import Kind
from imgfix.rehearsal.servers import health

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, os, socket, sys, urllib.request, urllib.error
from imgfix.rehearsal import namespace
from imgfix.rehearsal.identity import Identity
from imgfix.rehearsal.servers import Servers
from imgfix.rehearsal.wire import Names
if not namespace.enter(("168.63.129.16", "169.254.169.254")):
    raise SystemExit
told = []
identity = Identity("ssh-rsa AAAA r")
Servers(identity, lambda kind, text: told.append([kind.value, text])).start()
Names(identity).start()
def ask(url, data=None, **headers):
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=30)
        return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, ""]
wire, imds, agent = "http://168.63.129.16", "http://169.254.169.254/metadata", {"User-Agent": "Cloud-Init/22.4.2"}
ready = b"<Health><Container><Health><State>Ready</State></Health></Container></Health>"
found = {
    "versions": ask(wire + "/?comp=versions"),
    "goal": ask(wire + "/machine/?comp=goalstate", **agent),
    "configs": [ask(link) for link in __import__("re").findall("http://[^<]+", ask(wire + "/machine/?comp=goalstate")[1]
                                                              .replace("&amp;", "&"))],
    "health": ask(wire + "/machine?comp=health", ready, **agent),
    "properties": ask(wire + "/machine?comp=roleProperties", b"x"),
    "plugin": ask(wire + ":32526/versions"),
    "settings": ask(wire + ":32526/vmSettings"),
    "bare": ask(imds + "/instance?api-version=2021-08-01"),
    "instance": ask(imds + "/instance?api-version=2021-08-01", Metadata="true", **agent),
    "user": ask(imds + "/instance/compute/osProfile/adminUsername", Metadata="true"),
    "no such": ask(imds + "/reprovisiondata", Metadata="true"),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "told": told,
}
print(json.dumps(found))
"""


def _ask(user: int | None) -> dict[str, list[object]]:
    argv = [sys.executable, "-c", SCRIPT]
    if user is not None and os.geteuid() == 0:
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *argv]
    # The namespaces last as long as their maker's standard input is open.
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w"):
        done = subprocess.run(
            argv,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=reader,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[object]] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("user", [None, 1500], ids=["own-user", "ordinary-user"])
def test_the_servers_answer_as_azures_do(user: int | None) -> None:
    found = _ask(user)
    assert "2012-11-30" in str(found["versions"])
    assert "<Incarnation>1</Incarnation>" in str(found["goal"])
    assert str(found["configs"]).count("[200, ") == 3
    assert found["health"][0] == 200
    assert found["properties"][0] == 202
    assert found["plugin"] == [200, '["2015-09-01"]']
    assert found["settings"][0] == found["no such"][0] == 404
    assert found["bare"][0] == 400
    instance = json.loads(str(found["instance"][1]))
    assert instance["compute"]["publicKeys"][0]["keyData"] == "ssh-rsa AAAA r"
    assert instance["network"]["interface"][0]["macAddress"] == "000D3A7E5701"
    assert found["user"] == [200, '"azureuser"']
    assert found["interfaces"] == ["lo"]
    assert ["ready", "cloud-init reports Ready"] in found["told"]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("<State>Ready</State>", Kind.READY, "Ready"),
        (
            "<State>NotReady</State><Details><SubStatus>Provisioning</SubStatus><Description>Starting</Description>",
            Kind.NOT_READY,
            "NotReady: Provisioning: Starting",
        ),
        (
            "<State>NotReady</State><SubStatus>ProvisioningFailed</SubStatus><Description>no &lt;DVD&gt;</Description>",
            Kind.FAILED,
            "NotReady: ProvisioningFailed: no <DVD>",
        ),
        ("\x00\xff", Kind.NOT_READY, "health without a state"),
    ],
)
def test_only_a_failed_provisioning_is_a_failure(body: str, kind: Kind, words: str) -> None:
    assert health(body.encode()) == (kind, words)
