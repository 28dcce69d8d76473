# shellcheck shell=bash
# What the scripts here need before they start: system packages, and a venv that sees the guestfs bindings.
# Sourced, not run. The one entry is `bootstrap run` (to use imgfix) or `bootstrap dev` (to work on it);
# it sets VENV. A warm start compares one stamp and asks neither pip nor the package manager.

readonly EXIT_HOST=4 # imgfix.errors.ExitCode.HOST
ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
readonly ROOT

# guestfs is a C extension of the distribution's own Python, so no other (pyenv, /usr/local) will do. On
# Enterprise Linux that is platform-python, whatever `alternatives` makes of /usr/bin/python3.
PYTHON=/usr/bin/python3
[[ -x /usr/libexec/platform-python ]] && PYTHON=/usr/libexec/platform-python
readonly PYTHON

# mkfs, sgdisk and fsck live in sbin, which an ordinary user of Debian does not have on PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# What lies in ~/.local would hide the venv's own versions from pip.
export PATH PYTHONNOUSERSITE=1

# level | must or may | probe | apt package | dnf package. An empty package: nothing to install there.
readonly SYSTEM_NEEDS=(
  "run|must|has_file /usr/bin/python3|python3|python3"
  "run|must|has_module venv ensurepip|python3-venv|python3-pip"
  "run|must|has_module guestfs|python3-guestfs|python3-libguestfs"
  "run|must|has_qemu|@apt_qemu|qemu-kvm"
  "run|must|has_command qemu-img|qemu-utils|qemu-img"
  "run|must|has_kernel|@apt_kernel|kernel-core"
  "run|may|has_xfs|libguestfs-xfs|libguestfs-xfs"
  "dev|must|has_command bwrap|bubblewrap|bubblewrap"
  "dev|must|has_command mmdebstrap|mmdebstrap|mmdebstrap"
  "dev|must|has_file /usr/share/OVMF/OVMF_CODE*.fd /usr/share/edk2/*/OVMF_CODE*.fd|ovmf|edk2-ovmf"
  "dev|must|has_command sgdisk|gdisk|gdisk"
  "dev|must|has_command patch|patch|patch"
  "dev|must|has_command mkfs.vfat|dosfstools|dosfstools"
  "dev|must|has_command mkfs.xfs|xfsprogs|xfsprogs"
  "dev|must|has_command mkfs.ext4|e2fsprogs|e2fsprogs"
  "dev|must|has_command findmnt|util-linux|util-linux"
  "dev|must|has_command sfdisk|fdisk|util-linux"
  "dev|must|has_command rpmbuild|rpm|rpm-build"
  "dev|must|has_file /usr/share/keyrings/debian-archive-keyring.gpg|debian-archive-keyring|debian-keyring"
  "dev|must|has_command cpio|cpio|cpio"
  "dev|must|has_command zstd|zstd|zstd"
  "dev|must|has_command xz|xz-utils|xz"
  "dev|must|has_command lz4|lz4|lz4"
  "dev|must|has_command bzip2|bzip2|bzip2"
  "dev|must|has_command gcc|gcc|gcc"
  "dev|must|has_file /usr/include/errno.h|libc6-dev|glibc-devel"
  "dev|must|has_command shellcheck|shellcheck|ShellCheck"
  "dev|must|has_file /usr/libexec/netplan/generate /usr/lib/netplan/generate|netplan.io|netplan"
  "dev|must|has_file /usr/bin/grub-menulst2cfg /usr/bin/grub2-menulst2cfg|grub-common|grub2-tools-minimal"
)

say() { printf 'imgfix: %s\n' "$*" >&2; }

die() {
  say "$@"
  exit "$EXIT_HOST"
}

# --- probes of SYSTEM_NEEDS -------------------------------------------------------------------------------

has_command() { command -v "$1" >/dev/null; }

has_file() {
  local file
  for file; do [[ -e $file ]] && return; done
  return 1
}

has_module() {
  local name
  for name; do "$PYTHON" -I -c "import $name" 2>/dev/null || return; done
}

has_qemu() { has_command "qemu-system-$(uname -m)" || has_command qemu-kvm || has_file /usr/libexec/qemu-kvm; }

has_xfs() {
  # No guestfs yet: its package may bring XFS along, but asking for it as well does no harm.
  has_file /usr/lib{,64}/guestfs/supermin.d/*xfs* /usr/lib/*/guestfs/supermin.d/*xfs*
}

# supermin takes a kernel with its modules from the host (https://libguestfs.org/supermin.1.html, SUPERMIN_KERNEL),
# unless the user names another one, or a fixed appliance. Whether the user may read it is doctor's question:
# a second kernel would be as unreadable as the first.
has_kernel() {
  [[ -n ${SUPERMIN_KERNEL-} || -n ${LIBGUESTFS_PATH-} ]] && return
  has_file /lib/modules/*/vmlinuz && return
  local kernel
  for kernel in /boot/vmlinuz-*; do
    [[ -e $kernel && -d /lib/modules/${kernel#/boot/vmlinuz-} ]] && return
  done
  return 1
}

# --- package names that differ from host to host ----------------------------------------------------------

apt_qemu() {
  case $(uname -m) in
    x86_64) echo qemu-system-x86 ;;
    aarch64) echo qemu-system-arm ;;
    ppc64le) echo qemu-system-ppc ;;
    *) echo qemu-system ;;
  esac
}

apt_kernel() {
  local distros arch
  # shellcheck source=/dev/null
  distros=$(. /etc/os-release && echo "$ID ${ID_LIKE-}")
  arch=$(dpkg --print-architecture)
  case "$distros $arch" in
    *ubuntu*) echo linux-image-virtual ;;
    *\ amd64 | *\ arm64) echo "linux-image-cloud-$arch" ;;
    *) echo "linux-image-$arch" ;;
  esac
}

# --- system packages --------------------------------------------------------------------------------------

package_manager() {
  has_command apt-get && echo apt && return
  has_command dnf && echo dnf
}

# missing_packages MANAGER LEVEL NEED: the packages behind the probes that fail, one a line.
missing_packages() {
  local row level need probe apt dnf package
  for row in "${SYSTEM_NEEDS[@]}"; do
    IFS='|' read -r level need probe apt dnf <<<"$row"
    [[ $need == "$3" && ($level == run || $2 == dev) ]] || continue
    # shellcheck disable=SC2086 # a probe is a function and its words; its globs are meant
    $probe && continue
    case $1 in apt) package=$apt ;; *) package=$dnf ;; esac
    [[ $package == @* ]] && package=$("${package#@}")
    [[ -n $package ]] && echo "$package"
  done
  return 0
}

# logged PHASE COMMAND...: one line for people, everything else to the log; ends the script on failure.
logged() {
  say "$1 ... (first use)"
  shift
  log_of "$@" || fail "$*"
}

log_of() {
  printf '\n$ %s\n' "$*" >>"$LOG"
  # The lock is not for children: a service started by a package would hold it for ever.
  "$@" >>"$LOG" 2>&1 </dev/null {LOCK}>&-
}

fail() {
  say "failed: $1"
  tail -n 15 "$LOG" | sed 's/^/    /' >&2
  die "the whole log is $LOG"
}

# Set AS_ROOT to what makes a command run as root; 1 if nothing does.
find_root() {
  AS_ROOT=()
  ((EUID == 0)) && return
  has_command sudo || return
  AS_ROOT=(sudo -n)
  sudo -n true 2>/dev/null && return
  [[ -t 2 && -r /dev/tty ]] || return
  say "packages are missing ($*): sudo asks for your password to install them"
  AS_ROOT=(sudo)
  sudo -v
}

has_candidate() { [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[^\(]* ]]; }

# known_packages MANAGER PACKAGE...: those that the package lists know; an optional one that is not there is
# no reason to stop.
known_packages() {
  local manager=$1 package
  shift
  for package; do
    if [[ $manager == dnf ]]; then
      dnf -q list "$package" >/dev/null 2>&1 && echo "$package"
    elif has_candidate "$package"; then
      echo "$package"
    fi
  done
  return 0
}

apt_update() {
  [[ -n ${APT_UPDATED-} ]] && return
  APT_UPDATED=1
  logged "updating the package lists" "${AS_ROOT[@]}" env LC_ALL=C.UTF-8 apt-get -q update
}

install_apt() {
  local package
  for package; do has_candidate "$package" || apt_update; done
  local command=("${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
    apt-get -q install -y --no-install-recommends -o DPkg::Lock::Timeout=600 "$@")
  say "installing $* ... (first use)"
  log_of "${command[@]}" && return
  # Stale lists name files that the archive no longer has.
  [[ -z ${APT_UPDATED-} ]] || fail "${command[*]}"
  apt_update
  logged "installing $*" "${command[@]}"
}

install_dnf() { logged "installing $*" "${AS_ROOT[@]}" dnf -y -q install --setopt=install_weak_deps=False "$@"; }

refuse_unprivileged() {
  local remedy="dnf install -y $2"
  [[ $1 == apt ]] && remedy="apt-get update && apt-get install -y --no-install-recommends $2"
  say "this host lacks packages that imgfix needs: $2"
  die "this user can neither install them nor use sudo; ask an administrator to run:
    $remedy
then start imgfix again"
}

# system_packages LEVEL: install what is missing of it.
system_packages() {
  local manager must may
  manager=$(package_manager) || manager=none
  mapfile -t must < <(missing_packages "$manager" "$1" must)
  mapfile -t may < <(missing_packages "$manager" "$1" may)
  ((${#must[@]} + ${#may[@]})) || return 0
  if [[ $manager == none ]]; then
    ((${#must[@]})) || return 0
    die "this host has neither apt nor dnf; install by hand what these packages of Fedora hold: ${must[*]}"
  fi
  if ! find_root "${must[@]}" "${may[@]}"; then
    ((${#must[@]})) || return 0
    refuse_unprivileged "$manager" "${must[*]}"
  fi
  if ((${#may[@]})); then
    # A fresh container has no lists at all, and every optional package would look unknown.
    [[ $manager == dnf ]] || has_file /var/lib/apt/lists/*Packages* || apt_update
    mapfile -t may < <(known_packages "$manager" "${may[@]}")
  fi
  ((${#must[@]} + ${#may[@]})) || return 0
  "install_$manager" "${must[@]}" "${may[@]}"
}

# --- the venv ---------------------------------------------------------------------------------------------

refuse_old_python() {
  [[ -x $PYTHON ]] || return 0
  "$PYTHON" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' && return
  local version name
  version=$("$PYTHON" -I -c 'import platform; print(platform.python_version())')
  # shellcheck source=/dev/null
  name=$(. /etc/os-release && echo "$PRETTY_NAME")
  die "imgfix needs Python 3.10 or later; $PYTHON of $name is $version, and no other Python fits this host's
guestfs bindings. Use a newer host (Debian 12, Ubuntu 22.04, Fedora, Enterprise Linux 10), or the container."
}

# want EXTRAS: what the stamp of a fitting venv says. A new checkout path, Python, dependency or system need
# changes it.
want() {
  local hash
  hash=$(cat "$ROOT/pyproject.toml" "$ROOT/scripts/bootstrap.sh" | sha256sum)
  printf '%s\n%s\n%s\n%s' "$ROOT" "$(readlink -f "$PYTHON")" "${hash%% *}" "$1"
}

# fits VENV LEVEL: the venv is stamped for this level or a higher one, and its ground has not been taken away.
fits() {
  local stamp
  [[ -r $1/imgfix-stamp && -x $1/bin/imgfix ]] || return
  stamp=$(<"$1/imgfix-stamp")
  [[ $stamp == "$WANT_DEV" || ($2 == run && $stamp == "$WANT_RUN") ]] || return
  has_command qemu-img || return
  # Asking Python takes longer than all the rest together: only where the bindings are not in the usual place.
  has_file /usr/lib{,64}/python3*/*-packages/guestfs.py || has_module guestfs
}

# The venv belongs into the checkout; where that is read-only, or another user's, into the cache.
choose_venv() {
  local cache=${XDG_CACHE_HOME-} hash home=~
  hash=$(printf %s "$ROOT" | sha256sum)
  cache=${cache:-$home/.cache}/imgfix/venv-${hash:0:16}
  for VENV in "$ROOT/.venv" "$cache"; do fits "$VENV" "$1" && return; done
  for VENV in "$ROOT/.venv" "$cache"; do
    mkdir -p "$VENV" 2>/dev/null && [[ -w $VENV && -O $VENV ]] && return
  done
  die "no folder for the venv: neither $ROOT/.venv nor $cache can be written to; set XDG_CACHE_HOME to one"
}

# Two first starts at once: the second waits, and finds the work done.
lock_venv() {
  exec {LOCK}>"$VENV/.lock"
  has_command flock || return 0
  flock -n "$LOCK" && return
  say "waiting for another start of imgfix that prepares $VENV"
  flock "$LOCK"
}

make_venv() {
  find "$VENV" -mindepth 1 -maxdepth 1 ! -name .lock ! -name "${LOG##*/}" -exec rm -rf {} +
  logged "creating the Python environment in $VENV" \
    "$PYTHON" -I -m venv --system-site-packages "$VENV"
}

# fill_venv LEVEL: a venv of the same checkout and Python is brought up to date, any other made anew.
fill_venv() {
  local level=$1 had extras="" head
  had=$(cat "$VENV/imgfix-stamp" 2>/dev/null) || had=""
  head=${WANT_DEV%$'\n'*$'\n'*}
  if [[ $had == "$head"$'\n'* && -x $VENV/bin/python ]]; then
    [[ $had == *$'\n'dev ]] && level=dev
  else
    make_venv
  fi
  # Fits nothing, but says whose venv this is: after a failure it is mended and not made anew under others.
  printf '%s\n%s\n%s' "$head" unfinished "$level" >"$VENV/imgfix-stamp"
  [[ $level == dev ]] && extras="[dev]"
  logged "installing Python packages" \
    env -u PIP_TARGET -u PIP_PREFIX PIP_USER=0 "$VENV/bin/python" -I -m pip install \
    --no-input --disable-pip-version-check --no-warn-script-location --editable "$ROOT$extras"
  "$VENV/bin/python" -I -c 'import guestfs' 2>>"$LOG" || fail "$VENV/bin/python -c 'import guestfs'"
  want "$level" >"$VENV/imgfix-stamp"
}

# bootstrap run|dev: prepare this host and set VENV. Exits 4 with what is missing if that cannot be done.
bootstrap() {
  WANT_RUN=$(want run)
  WANT_DEV=${WANT_RUN%run}dev
  choose_venv "$1"
  fits "$VENV" "$1" && return
  LOG=$VENV/bootstrap.log
  lock_venv
  # Another start may have done it meanwhile.
  if ! fits "$VENV" "$1"; then
    : >"$LOG"
    refuse_old_python
    system_packages "$1"
    refuse_old_python
    fill_venv "$1"
  fi
  exec {LOCK}>&-
}
