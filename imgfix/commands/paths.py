"""The type of arguments that are paths."""

from __future__ import annotations

from pathlib import Path

import click

#: A path as it is: click's own check would take a file that cannot be read for a wrong use of the command line, and
#: not for what is wrong with the host (exit code 4).
FILE = click.Path(path_type=Path, readable=False)
