"""Writers of what a kernel and its modprobe read: newc archives, their compression, module indexes. Pure."""
