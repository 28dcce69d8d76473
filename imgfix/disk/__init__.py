"""Disk images in, a fixed VHD out: formats, partition tables, the work copy. Imports only imgfix.errors."""
