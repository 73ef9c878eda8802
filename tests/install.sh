#!/usr/bin/env bash
# Install what some tests need beside Python: SLURM, munge, an SSH server, Chromium. None of them is started.
set -euo pipefail

# Of several names at once, `command -v` is content with one: right for browsers, wrong for all else.
missing=()
for tool in slurmctld slurmd munged sshd ssh-keygen runuser; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
command -v chromium chromium-browser google-chrome >/dev/null || missing+=(chromium)

if [ ${#missing[@]} = 0 ]; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests of clusters or of pages are skipped: only root can install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # services stay off
apt-get update -qq
apt-get install -y -qq --no-install-recommends slurm-wlm munge openssh-server openssh-client >/dev/null
apt-get install -y -qq --no-install-recommends chromium >/dev/null
