#!/bin/bash
# The proof that no install step is missing: `make demo`, `make demo-down` and `make test` inside a bare Debian 12 that
# has only git, make, python3 and CA certificates. Needs a Docker engine here; takes an hour. What it made it removes.
#   tests/fresh.sh [commands]     default: the three of them; KEEP=1 leaves the container for a look
set -euo pipefail
cd "$(dirname "$0")/.."
commands=${*:-"make demo && make demo-down && make demo HOSTS=3 && make demo-down && make test"}
name=occam-fresh-$$
work=$(mktemp -d)

clean() {
    rm -rf "$work"
    if [ -n "${KEEP:-}" ]; then
        echo "kept: docker exec -it $name bash, and in the end: docker rm -fv $name && docker volume rm $name"
    else
        docker rm -fv "$name" >/dev/null 2>&1 || true
        docker volume rm "$name" >/dev/null 2>&1 || true
    fi
}
trap clean EXIT

# Pulled, or made here where no registry can be reached: as a course's own images begin.
base=$(.venv/bin/python -c 'import sys
from occamctl.engine.client import Engine
from occamctl.engine.debian import ensure_base
print(ensure_base(Engine.local(), lambda text: print(text, file=sys.stderr)))')

# Everything that Docker 20.10 knows but SYS_RESOURCE, so that an engine can run inside without --privileged.
capabilities="AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK
 IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW
 SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE
 SYS_RAWIO SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
options=(--security-opt seccomp=unconfined --security-opt systempaths=unconfined --security-opt apparmor=unconfined
    --device-cgroup-rule 'a *:* rwm' -v /sys/fs/cgroup:/sys/fs/cgroup:rw -v "$name:/var/lib/docker" --shm-size 1g)
for one in $capabilities; do options+=(--cap-add "$one"); done
# What a site needs to reach its mirrors.
for one in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_CERT PIP_DEFAULT_TIMEOUT; do
    [ -z "${!one:-}" ] || options+=(-e "$one=${!one}")
done

docker volume create "$name" >/dev/null
docker run -d --init --name "$name" "${options[@]}" "$base" sleep infinity >/dev/null
mkdir -p "$work/ca" && cp /usr/local/share/ca-certificates/*.crt "$work/ca/" 2>/dev/null || true
docker cp "$work/ca/." "$name:/usr/local/share/ca-certificates/" >/dev/null
git bundle create -q "$work/occamctl.bundle" HEAD
docker cp "$work/occamctl.bundle" "$name:/root/" >/dev/null

inside() { docker exec "$name" bash -euc "$1"; }
inside 'export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null
    apt-get -qq install --no-install-recommends git make python3 ca-certificates >/dev/null 2>&1
    git -c advice.detachedHead=false clone -q /root/occamctl.bundle /root/occamctl'
echo "in a bare Debian 12: $commands"
start=$SECONDS
inside "cd /root/occamctl && $commands"
echo "all of it took $((SECONDS - start)) s"
