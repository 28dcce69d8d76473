"""What a file must hold to be a secret: real forms of each kind, and what ships without one."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from imgfix.steps import secret_places as places
from tests.textedit.test_cloudcfg import EL8

_YES = [
    (places.PEM, "-----BEGIN PRIVATE KEY-----\n"),
    (
        places.PEM,
        "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n",
    ),
    (places.PEM, "-----BEGIN ENCRYPTED PRIVATE KEY-----\r\n"),
    (places.PEM, "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"),
    (places.PEM, "PuTTY-User-Key-File-3: ssh-ed25519\n"),
    (places.LINE, "# a\n  ssh-ed25519 AAAA\n"),
    (places.REGISTRY, '{"auths":{"x":{"auth":"AAAA"}}}'),
    (places.USER_SETTING, "[client]\npassword=x\n"),
    (places.USER_SETTING, "//npm.example.com/:_authToken=x\n"),
    (places.USER_SETTING, "<server><password>x</password></server>"),
    (places.USER_SETTING, 'npmAuthToken: "x"\n'),
    (places.NETWORK, 'network={\n\tssid="x"\n\tpsk="x"\n}\n'),
    (places.NETWORK, "[802-1x]\npassword=x\n"),
    (places.NETWORK, "[WireGuard]\nPrivateKey=x\n"),
    (places.NETWORK, "      password: x\n"),
    (places.NETWORK, "wep-key0=x\n"),
    (places.SERVICE, "ldap_default_authtok = x\n"),
    (places.SERVICE, "machine x login y password z\n"),
    (places.SERVICE, "users:\n  - name: a\n    plain_text_passwd: 'x'\n"),
    (places.SERVICE, "chpasswd: {list: 'a:b'}\n"),
    (places.SERVICE, "//nas/x /mnt cifs user=a,password=b 0 0\n"),
    (places.SERVICE, 'AWS_SECRET_ACCESS_KEY="x"\n'),
    (places.SERVICE, "api_key: 0123\n"),
]
_NO = [
    (places.PEM, "-----BEGIN CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----\n"),
    (places.PEM, "see -----BEGIN PRIVATE KEY-----\n"),
    (places.LINE, "# a\n\n   # b\n"),
    (places.REGISTRY, '{"auths":{"x":{}},"credsStore":"pass"}'),
    (places.USER_SETTING, "save-exact=true\nregistry=https://x/\n"),
    (places.USER_SETTING, "<password></password>"),
    (places.NETWORK, "[wifi-security]\nkey-mgmt=wpa-psk\npsk-flags=1\n"),
    (places.NETWORK, "#psk=x\npsk=\n"),
    (places.SERVICE, EL8),
    (places.SERVICE, "lock_passwd: True # yes\nssh_pwauth: 0\npasswd: '*'\n"),
    (places.SERVICE, "# password = x\n;password=x\npassword = \nkeys: x\n"),
    (places.SERVICE, "cache_credentials = True\nkrb5_store_password_if_offline = True\n"),
    (places.SERVICE, "[base]\ngpgcheck=1\nsslclientkey=/x\nmetalink=https://x/?repo=y&arch=z\n"),
    (places.SERVICE, "UUID=1 / ext4 defaults 0 1\n"),
]


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("mark", "text"), _YES, ids=_name)
def test_a_secret_is_found(mark: re.Pattern[bytes], text: str) -> None:
    assert mark.search(text.encode())


@pytest.mark.parametrize(("mark", "text"), _NO, ids=_name)
def test_what_is_no_secret_is_not(mark: re.Pattern[bytes], text: str) -> None:
    assert not mark.search(text.encode())


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_keys_that_ssh_keygen_makes_are_found(tmp_path: Path, kind: str, passphrase: str) -> None:
    key = tmp_path / "id"
    subprocess.run(("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", key), check=True)
    assert places.PEM.search(key.read_bytes())
    assert not places.PEM.search(key.with_suffix(".pub").read_bytes())


@pytest.mark.parametrize(
    "piece",
    [
        b"\n",
        b" ",
        b"_auth",
        b"secret",
        b"token ",
        b"pass",
        b"-",
        b"-----BEGIN A ",
        b'"auth" ',
        b"secret=no #",
    ],
)
def test_no_file_keeps_a_search_busy(piece: bytes) -> None:
    data = piece * ((64 << 10) // len(piece))
    begin = time.process_time()
    for mark in {place.mark for place in places.PLACES if place.mark is not None}:
        mark.search(data)
    assert time.process_time() - begin < 10


def test_no_place_searches_the_system() -> None:
    """At most two wildcards for folders in a glob, and no glob that begins with one."""
    for place in places.PLACES:
        assert place.system or place.homes
        for pattern in place.system:
            folders = pattern.split("/")[1:-1]
            assert sum("*" in part for part in folders) <= 1, pattern
            assert "*" not in (folders[0] if folders else ""), pattern
        assert all(not pattern.startswith(("/", "..")) for pattern in place.homes)
