"""The first boot of a VHD on a simulated Azure: a QEMU machine, the servers its agents speak to, and a diagnosis."""
