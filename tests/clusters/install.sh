#!/usr/bin/env bash
# Install what the tests of clusters need: SLURM, munge and an SSH server. None of them is started.
set -euo pipefail
if command -v slurmctld slurmd munged sshd ssh-keygen runuser >/dev/null; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the tests of clusters are skipped: SLURM or sshd is missing, and only root can install it" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # services stay off
apt-get update -qq
apt-get install -y -qq --no-install-recommends slurm-wlm munge openssh-server openssh-client >/dev/null
