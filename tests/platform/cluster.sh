#!/usr/bin/env bash
# A real Slurm of one node on this machine, for tests: `cluster.sh install|start|stop`.
# It needs root, and Debian's or Ubuntu's packages. Its two "GPUs" are device files that nothing opens.
# Exit status 3: it cannot run here; the message says why.
set -euo pipefail

folder=${FEWSHOT_SLURM:-/tmp/fewshot-slurm} # keys, sockets, state, logs
settings=/etc/slurm                         # where slurmstepd looks, whatever SLURM_CONF says
files=(slurm.conf cgroup.conf gres.conf)
mark="# Written by tests/platform/cluster.sh"
programs=(munged slurmctld slurmd sbatch)
export PATH="$PATH:/usr/sbin:/sbin"

refuse() {
  echo "cluster.sh: $1" >&2
  exit 3
}

missing() {
  local program
  for program in "${programs[@]}"; do
    command -v "$program" > /dev/null || echo "$program"
  done
}

install_packages() {
  [ -n "$(missing)" ] || return 0
  [ "$(id -u)" = 0 ] || refuse "not installed: $(missing | xargs); installing them needs root."
  command -v apt-get > /dev/null || refuse "not installed: $(missing | xargs); only apt-get is known here."
  export DEBIAN_FRONTEND=noninteractive
  local packages=(slurmd slurmctld slurm-client munge)
  apt-get install --yes --quiet --no-install-recommends "${packages[@]}" > /dev/null ||
    { apt-get update --quiet > /dev/null && apt-get install --yes --quiet --no-install-recommends "${packages[@]}" > /dev/null; } ||
    refuse "apt-get install ${packages[*]} failed."
}

# Files of a real cluster are never touched.
check_settings() {
  local file
  for file in "${files[@]}"; do
    [ ! -e "$settings/$file" ] || grep -qF "$mark" "$settings/$file" ||
      refuse "$settings/$file is not ours: this machine belongs to a Slurm already."
  done
}

write_settings() {
  local host
  host=$(hostname -s)
  mkdir -p "$settings"
  cat > "$settings/slurm.conf" << END
$mark
ClusterName=fewshot
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# No cgroups, no accounting: a container has neither.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# The node is what this file says, so that requests for memory and GPUs are granted anywhere.
SlurmdParameters=config_overrides
GresTypes=gpu
# Tests look at finished jobs, too.
MinJobAge=86400
KillWait=30
ReturnToService=2
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:fake:2 State=UNKNOWN
PartitionName=tests Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
  printf '%s\nCgroupPlugin=cgroup/v1\n' "$mark" > "$settings/cgroup.conf"
  printf '%s\nName=gpu Type=fake File=/dev/null\nName=gpu Type=fake File=/dev/zero\n' "$mark" > "$settings/gres.conf"
}

start() {
  [ -z "$(missing)" ] || refuse "not installed: $(missing | xargs)."
  [ "$(id -u)" = 0 ] || refuse "starting Slurm's daemons needs root."
  check_settings
  stop
  mkdir -p "$folder/state" "$folder/spool"
  chmod 755 "$folder"
  (umask 077 && head -c 1024 /dev/urandom > "$folder/munge.key")
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" 2> "$folder/munged.err"
  write_settings
  slurmctld
  slurmd
  local _
  for _ in $(seq 150); do
    if [ "$(sinfo --noheader --format=%T 2> /dev/null || true)" = idle ]; then
      return 0
    fi
    sleep 0.2
  done
  tail -n 20 "$folder"/slurm*.log >&2
  stop
  refuse "the node did not become idle within 30 seconds."
}

alive() {
  local process
  process=$(cat "$folder/$1.pid" 2> /dev/null) && [ "$(cat "/proc/$process/comm" 2> /dev/null)" = "$1" ] && echo "$process"
}

end() {
  local process _
  process=$(alive "$1") || return 0
  kill "$process"
  for _ in $(seq 100); do
    alive "$1" > /dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$process"
}

stop() {
  check_settings
  local file
  if [ -e "$settings/slurm.conf" ] && alive slurmctld > /dev/null && alive slurmd > /dev/null; then
    scancel --signal=KILL --full --user=root 2> /dev/null || true
    scancel --user=root 2> /dev/null || true
  fi
  for daemon in slurmd slurmctld munged; do
    end "$daemon"
  done
  # Last: daemons and steps wait for these files if they vanish earlier, and clients if they stay.
  for file in "${files[@]}"; do
    rm -f "${settings:?}/$file"
  done
  rm -rf "${folder:?}"
}

case ${1:-} in
  install) install_packages ;;
  start) start ;;
  stop) stop ;;
  *)
    echo "usage: cluster.sh install|start|stop" >&2
    exit 2
    ;;
esac
