from __future__ import annotations

import pytest

from imgfix.steps.network.interface import Interface, Role, doomed, flattened, is_virtual, shown

ETHERNET, STACKED, OTHER = Role.ETHERNET, Role.STACKED, Role.OTHER


@pytest.mark.parametrize(
    "name",
    ["lo", "tun0", "wg0", "docker0", "veth12ab", "wlp3s0", "wlan0", "br-0a1b2c", "virbr0", "ib0", "lxdbr0"],
)
def test_no_network_cards(name: str) -> None:
    assert is_virtual(name)


@pytest.mark.parametrize(
    "name",
    ["eth0", "ens192", "eno1", "enp0s3", "enx00", "em1", "p1p1", "lan0", "mgmt", "local", "canary", "tunis"],
)
def test_network_cards(name: str) -> None:
    assert not is_virtual(name)


@pytest.mark.parametrize(
    "key",
    [
        "IEEE_8021X_PASSWORD",
        "802-1x.private-key-password",
        "wpa-psk",
        "KEY_PASSPHRASE1",
        "auth.password",
        "pin",
    ],
)
def test_secrets_are_not_shown(key: str) -> None:
    assert shown(key, "geheim") == f"{key}=(not shown)"


def test_settings_are_flattened() -> None:
    settings = {
        "dhcp4": True,
        "mtu": 9000,
        "routes": [{"to": "default", "via": "10.0.0.1"}],
        "search": ["a", "b"],
    }
    assert flattened(settings, frozenset({"dhcp4"})) == (
        *("mtu=9000", "routes.to=default", "routes.via=10.0.0.1", "search=a b"),
    )


def _card(name: str, *, fits: bool = False) -> Interface:
    return Interface(f"/etc/{name}", name, ETHERNET, fits=fits)


def _upper(name: str, *uses: str) -> Interface:
    return Interface(f"/etc/{name}", name, STACKED, uses=uses)


@pytest.mark.parametrize(
    ("interfaces", "gone"),
    [
        ([_card("ens3"), _card("eth0", fits=True)], ["ens3"]),
        ([_upper("br0", "v7"), _upper("v7", "bond0"), _upper("bond0", "ens3")], ["br0", "v7", "bond0"]),
        ([_upper("br0"), _upper("br1", "veth1", "tap0"), _upper("br2", "br1")], []),
        # A VLAN on eth0 is of the old network, whatever eth0 does.
        ([_card("eth0", fits=True), _upper("eth0.7", "eth0")], ["eth0.7"]),
        ([Interface("/etc/wg0", "wg0", OTHER, static=True)], []),
        ([Interface("/etc/x", "e*", ETHERNET, generic=True)], []),
        # Two that are made of each other, and of no card.
        ([_upper("a", "b"), _upper("b", "a")], []),
    ],
)
def test_what_is_made_of_cards_goes_with_them(interfaces: list[Interface], gone: list[str]) -> None:
    assert [i.name for i in doomed(interfaces)] == gone
