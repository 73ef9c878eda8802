#!/usr/bin/env bash
# An SSH server of its own on the loopback interface: `sshd.sh start FOLDER PORT`, `sshd.sh stop FOLDER`.
# FOLDER/key logs in as the user who started it; FOLDER/known_hosts knows the server.
set -euo pipefail
action=$1 folder=$2 port=${3:-}

stop() { if [ -s "$folder/pid" ]; then kill "$(cat "$folder/pid")" 2>/dev/null || true; fi; }

start() {
    mkdir -p "$folder"
    if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi  # where Debian's server parts with its rights
    for name in key host_key; do ssh-keygen -q -t ed25519 -N '' -f "$folder/$name"; done
    cp "$folder/key.pub" "$folder/authorized_keys"
    echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$folder/host_key.pub")" >"$folder/known_hosts"
    cat >"$folder/config" <<CONF
ListenAddress 127.0.0.1
Port $port
HostKey $folder/host_key
AuthorizedKeysFile $folder/authorized_keys
PidFile $folder/pid
StrictModes no
UsePAM no
PasswordAuthentication no
MaxStartups 20
CONF
    "$(command -v sshd)" -f "$folder/config" -E "$folder/log"
    for _ in $(seq 50); do
        if [ -s "$folder/pid" ]; then return; fi
        sleep 0.1
    done
    tail -n 3 "$folder/log" >&2
    exit 1
}

"$action"
