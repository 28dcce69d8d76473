"""imgfix: make any Linux VM image ready for Microsoft Azure without booting it."""

__version__ = "0.1.0"
