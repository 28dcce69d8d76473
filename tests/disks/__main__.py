"""`python3 -m tests.disks NAME OUT`: see scripts/make-test-disk."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .host import DiskError
from .recipes import RECIPES, make


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make-test-disk", description="Build a real test disk, or take it from the cache."
    )
    parser.add_argument("name", metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("out", metavar="OUT", type=Path, help="the raw disk to write")
    given = parser.parse_args()
    try:
        make(given.name, given.out)
    except DiskError as error:
        print(f"make-test-disk: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
