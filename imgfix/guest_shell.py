"""What is around a command of the guest in the appliance: namespaces, /run and /tmp in memory, its output."""

from __future__ import annotations

# libguestfs binds /dev, /proc and /sys into the guest, but not /run, and drops stderr on success and stdout on
# failure. tmpfs on /run and /tmp keeps what generators leave there out of the image. In a PID namespace of its
# own nothing outlives the command: a daemon that a maintainer script starts would keep the appliance busy and
# the file systems mounted. In such a namespace a chroot is not seen to be one (running_in_chroot() of systemd), so
# that udevadm trigger, which maintainer scripts run, would reach the appliance's udev but for a read-only /sys.
# The guest's mount makes /run/mount (libmount), which is on the disk until /run is a tmpfs: it goes again.
# Who wants to hear the output gets it on the console while the command runs; tail looks once a second.
INSIDE = """
[ -e /run/mount ] || stray=/run/mount
mount -o remount,bind,ro /sys 2>/dev/null
mount -t tmpfs -o mode=0755 imgfix /run && mount -t tmpfs -o mode=1777 imgfix /tmp || exit 1
mkdir /run/lock
if [ -n "$HEARD" ]; then
  : >/run/imgfix.out
  { tail -n +1 -f /run/imgfix.out & echo $! >/run/imgfix.tail; wait; } 2>/dev/null |
    LC_ALL=C tr -c '\\11\\12\\15\\40-\\176' '?' >/dev/console &
fi
"$@" >/run/imgfix.out 2>&1 </dev/null
code=$?
if [ -n "$HEARD" ]; then sleep 2; kill "$(cat /run/imgfix.tail)"; fi
tail -c %d /run/imgfix.out
printf '\\n%%d' "$code"
umount /tmp /run 2>/dev/null || :
[ -z "$stray" ] || rm -rf "$stray"
"""
WRAPPER = """
if unshare --help 2>&1 | grep -q mount-proc; then
  exec unshare --mount --pid --fork --mount-proc /bin/sh -c "$INSIDE" imgfix "$@"
fi
exec /bin/sh -c "$INSIDE" imgfix "$@"
"""
