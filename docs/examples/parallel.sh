#!/bin/bash
# GNU parallel: one job an image, as many as there are cores; with --sshlogin, on several machines with one file system.
#   parallel.sh manifest.yaml [OPTION OF parallel]...
set -euo pipefail
manifest=$1
shift
imgfix batch "$manifest" --list | cut -f1 |
  parallel --joblog imgfix.joblog --memfree 4G "$@" imgfix batch "$manifest" --index {} || true
# What is done is skipped: this tells all verdicts, writes the summary, and ends with the exit code for all.
exec imgfix batch "$manifest"
