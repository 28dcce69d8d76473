"""Volumes: what is on the disk as the appliance sees it: file systems, LVM, LUKS, MD RAID; found, opened, checked."""
