"""netplan's own generator is the oracle: what an edit leaves, it reads, and makes the same of."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgfix.errors import ParseError
from imgfix.textedit import netplan
from imgfix.textedit.netplan import Definition

from .garbage import or_refused, texts

GENERATE = next(
    (p for p in ("/usr/libexec/netplan/generate", "/usr/lib/netplan/generate") if Path(p).exists()), "missing"
)

# subiquity's, with what administrators add.
TEXT = """\
# This is the network config written by 'subiquity'
network:
  ethernets:
    ens3:   # the first
      dhcp4: true
      nameservers:
        addresses: [1.1.1.1]
        search:
          - example.com   # ours
      # end of ens3

    # of the backup network
    ens4: {dhcp4: true, mtu: 9000}
    ens5:
  bridges:
    br0:
      interfaces: [ens4]
      parameters: {stp: false}
  renderer: networkd
  version: 2
"""


def test_definitions() -> None:
    found = netplan.definitions(TEXT)
    assert [(d.line, d.group, d.name) for d in found] == [
        (4, "ethernets", "ens3"),
        (13, "ethernets", "ens4"),
        (14, "ethernets", "ens5"),
        (16, "bridges", "br0"),
    ]
    assert found[1].settings == {"dhcp4": True, "mtu": 9000}
    assert found[2].settings == {}
    assert (netplan.renderer(TEXT), netplan.is_bare(TEXT)) == ("networkd", False)
    assert netplan.definitions("") == netplan.definitions("network:\n") == ()
    assert netplan.is_bare("network:\n  version: 2\n")


def test_a_definition_goes_with_its_lines() -> None:
    start, end = TEXT.index("    ens3:"), TEXT.index("      # end of ens3")
    assert netplan.without(TEXT, lambda d: d.name == "ens3") == TEXT[:start] + TEXT[end:]
    assert netplan.without(TEXT, lambda d: d.name == "ens4") == TEXT.replace(
        "    ens4: {dhcp4: true, mtu: 9000}\n", ""
    )
    assert netplan.without(TEXT, lambda d: d.name == "ens5") == TEXT.replace("    ens5:\n", "")


def test_an_empty_group_goes_along() -> None:
    new = netplan.without(TEXT, lambda d: d.group == "bridges")
    assert new == TEXT[: TEXT.index("  bridges:")] + TEXT[TEXT.index("  renderer:") :]
    new = netplan.without(TEXT, lambda d: True)
    assert yaml.safe_load(new) == {"network": {"renderer": "networkd", "version": 2}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("network: {ethernets: {a: {}, b: {}}}", "network: {ethernets: {b: {}}}"),
        (
            "network: {ethernets: {b: {}, a: {x: 1}}, version: 2}\n",
            "network: {ethernets: {b: {}}, version: 2}\n",
        ),
        ("network: {ethernets: {a: {}}, version: 2}\n", "network: {version: 2}\n"),
        ("network:\n  ethernets: {a: {}}\n", "network:\n"),
        (
            "network:\r\n  ethernets:\r\n    a:\r\n      dhcp4: yes\r\n    b: {}\r\n",
            "network:\r\n  ethernets:\r\n    b: {}\r\n",
        ),
        ("network:\n  ethernets:\n    b: {}\n    a: {}", "network:\n  ethernets:\n    b: {}\n"),
        (
            "network:\n  ethernets:\n    a:\n      x: |\n        y\n    b: {}\n",
            "network:\n  ethernets:\n    b: {}\n",
        ),
    ],
)
def test_styles(before: str, after: str) -> None:
    assert netplan.without(before, lambda d: d.name == "a") == after


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("network:\n  a: [\n", 3),
        ("network: 5\n", 1),
        ("- a\n", 1),
        ("network:\n  ethernets:\n    a: 5\n", 3),
        ("network:\n  ethernets:\n    a: {b: 2020-99-99}\n", None),
    ],
)
def test_broken_files_are_refused(text: str, line: int | None) -> None:
    with pytest.raises(ParseError) as caught:
        netplan.definitions(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "network: {ethernets: {b: {}, # c\n a: {}}}\n",
        "network:\n  ethernets:\n    ? a\n    : {dhcp4: true}\n    b: {}\n",
        "network:\n  ethernets:\n    a: &x {dhcp4: true}\n    b: *x\n",
    ],
)
def test_what_cannot_be_taken_out_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        netplan.without(text, lambda d: d.name == "a")


@given(texts("network:", "\n  ", "ethernets: ", "{a: {}}", "a: ", "bonds:", "- ", "&x ", "*x", "|\n"))
def test_garbage_is_edited_rightly_or_refused(text: str) -> None:
    new = or_refused(lambda: netplan.without(text, lambda d: d.name == "a"))
    if new is not None:
        assert not [d for d in netplan.definitions(new) if d.name == "a"]
        assert netplan.without(new, lambda d: d.name == "a") == new


NAMES = st.sampled_from(["ens3", "ens4", "eth0", "all"])
CARD = st.fixed_dictionaries(
    {},
    optional={
        "dhcp4": st.booleans(),
        "addresses": st.just(["10.0.0.5/24"]),
        "match": st.fixed_dictionaries({"name": st.sampled_from(["e*", "ens3"])}),
        "nameservers": st.just({"addresses": ["10.0.0.1"], "search": ["a.example"]}),
        "mtu": st.just(1400),
    },
)
NETWORK = st.fixed_dictionaries(
    {"version": st.just(2), "ethernets": st.dictionaries(NAMES, CARD, min_size=1, max_size=4)},
    optional={"dummy-devices": st.just({"dm0": {"addresses": ["10.9.9.9/32"]}})},
)


def _generated(folder: Path, text: str) -> dict[str, str]:
    """Return the .network files that netplan makes of `text`, by name."""
    for old in folder.rglob("*.network"):
        old.unlink()
    (folder / "etc/netplan").mkdir(parents=True, exist_ok=True)
    file = folder / "etc/netplan/01.yaml"
    file.write_text(text)
    file.chmod(0o600)
    done = subprocess.run((GENERATE, "--root-dir", str(folder)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{text}"
    return {path.name: path.read_text() for path in (folder / "run/systemd/network").glob("*.network")}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NETWORK, NAMES, st.sampled_from([True, False, None]))
def test_netplan_makes_the_same_of_what_is_left(
    tmp_path: Path, network: dict[str, object], name: str, style: bool | None
) -> None:
    network.pop("dummy-devices", None)  # newer than Debian 12's netplan
    plain = json.loads(json.dumps({"network": network}))  # no object twice, so no anchors
    text = yaml.safe_dump(plain, sort_keys=False, default_flow_style=style)
    before = _generated(tmp_path, text)

    def drop(definition: Definition) -> bool:
        return definition.name == name

    after = _generated(tmp_path, netplan.without(text, drop))
    assert after == {file: made for file, made in before.items() if file != f"10-netplan-{name}.network"}
