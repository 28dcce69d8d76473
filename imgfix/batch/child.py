"""Started between a batch and its `imgfix apply`: makes the apply end when the batch is killed.

Without it a batch that is killed with SIGKILL would leave its applies running, each with an appliance, and a rerun
would find them at work.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: prctl(2): a signal to the caller when the thread that started it ends. An execve keeps it.
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run `python -m imgfix ARGUMENTS`; called with the batch's process id before them."""
    batch, *arguments = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(batch):  # it ended before we asked
        os.kill(os.getpid(), signal.SIGTERM)
    os.execv(sys.executable, [sys.executable, "-m", "imgfix", *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
