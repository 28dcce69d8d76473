"""python -m imgfix."""

from imgfix.cli import main

main()
