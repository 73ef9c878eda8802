#!/usr/bin/env bash
# Install what the tests of clusters need: SLURM, munge and an SSH server. None of them is started.
set -euo pipefail
missing=
for tool in slurmctld slurmd munged sshd ssh-keygen runuser; do
    # Of several names at once, `command -v` is content with one.
    command -v "$tool" >/dev/null || missing+=" $tool"
done
if [ -z "$missing" ]; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the tests of clusters are skipped: only root can install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # services stay off
apt-get update -qq
apt-get install -y -qq --no-install-recommends slurm-wlm munge openssh-server openssh-client >/dev/null
