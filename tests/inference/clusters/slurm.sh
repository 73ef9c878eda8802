#!/usr/bin/env bash
# A SLURM of its own on this machine, without systemd: `slurm.sh start FOLDER`, then SLURM_CONF=FOLDER/slurm.conf
# for sbatch and all others; `slurm.sh stop FOLDER`. Must be root. Everything lies in the folder and listens on
# the loopback interface; there are more cores than the machine has, and two GPUs that are none.
set -euo pipefail
action=$1 folder=$2

free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))
PYTHON
}

# Who was started here, by process id, last first.
stop() {
    for name in slurmd slurmctld munged; do
        if [ ! -s "$folder/$name.pid" ]; then continue; fi
        pid=$(cat "$folder/$name.pid")
        kill "$pid" 2>/dev/null || true
        # Until it has ended or is a zombie that somebody else must wait for, it may still write.
        for _ in $(seq 100); do
            if ! grep -qs '^State:.[^Z]' "/proc/$pid/status"; then break; fi
            sleep 0.1
        done
    done
}

start() {
    local host; host=$(hostname -s)
    read -r controller daemon <<<"$(free_ports 2)"
    mkdir -p "$folder/munge" "$folder/state" "$folder/spool"
    chmod 755 "$folder"
    head -c 128 /dev/urandom >"$folder/munge/key"
    chmod 600 "$folder/munge/key"
    chown -R munge: "$folder/munge"
    # --force: the folder may lie under one that others can write to, like /tmp.
    runuser -u munge -- munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
        --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
    cp "$folder/munge/pid" "$folder/munged.pid"
    cat >"$folder/slurm.conf" <<CONF
ClusterName=geoseg
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$daemon
SlurmUser=root
AuthInfo=socket=$folder/munge/socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=10
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    printf 'Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n' >"$folder/gres.conf"
    export SLURM_CONF=$folder/slurm.conf
    slurmctld -c -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF"
    for _ in $(seq 100); do
        if [ "$(sinfo --noheader --format=%t 2>/dev/null)" = idle ]; then return; fi
        sleep 0.1
    done
    tail -n 3 "$folder"/slurm*.log >&2
    stop
    exit 1
}

"$action"
