"""A throw-away key, and commands over SSH by the host's own client."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from imgfix.errors import HostError

PORT = 22022
#: Seconds for one connection and its command: an emulated guest takes its time over each key exchange.
_TIMEOUT = 300.0


def make_key(folder: Path) -> Path:
    """Make an RSA key pair, the kind that every agent and server takes, and return the private file."""
    path = folder / "key"
    argv = (
        *_as_somebody(),
        "ssh-keygen",
        "-q",
        "-t",
        "rsa",
        "-b",
        "3072",
        "-N",
        "",
        "-C",
        "rehearsal",
        "-f",
        str(path),
    )
    try:
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise HostError(
            "ssh-keygen is not installed; the rehearsal logs in with a key of its own",
            hint="apt install openssh-client, or dnf install openssh-clients",
        ) from error
    except subprocess.CalledProcessError as error:
        raise HostError(f"ssh-keygen makes no key in {folder}: {error.stderr.strip()}") from error
    return path


def _as_somebody() -> tuple[str, ...]:
    """ssh-keygen runs for nobody who is not in the user database, as in a container with a user of its own number."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return ("unshare", "--user", "--map-root-user")
    return ()


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in, with which private key."""

    user: str
    key: Path

    def run(self, script: str, timeout: float = _TIMEOUT) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the guest, as the user; it comes by standard input. Status 255 is ssh's own."""
        options = {
            "IgnoreUnknown": "PubkeyAcceptedAlgorithms",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "ConnectTimeout": "60",
            "LogLevel": "ERROR",
            "HostKeyAlgorithms": "+ssh-rsa",
            "PubkeyAcceptedAlgorithms": "+ssh-rsa",
        }
        argv = ["ssh", "-F", "/dev/null", "-T", "-i", str(self.key), "-p", str(PORT)]
        argv += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        argv += [f"{self.user}@127.0.0.1", "/bin/sh -s"]
        try:
            return subprocess.run(
                argv,
                input=script,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 255, "", f"no answer within {timeout:.0f} s")
