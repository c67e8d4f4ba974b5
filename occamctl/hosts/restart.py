"""Restart a host's container engine as it was started: by systemd, or with its own command line and environment."""

from __future__ import annotations

import json
import time
from collections.abc import Collection

from occamctl import wait
from occamctl.errors import HostError, TookTooLong
from occamctl.hosts.machine import Machine
from occamctl.plan.gpu_setup import engine_gpus
from occamctl.plan.observed import EngineGpus
from occamctl.spec import names

STOP_SECONDS, START_SECONDS = 120, 90
SETTLE_SECONDS = 5
"""After so long an engine that was started by hand is there, or has ended."""
_DOCKER = ("docker", "-H", "unix:///var/run/docker.sock")
_LOG = "/var/log/occam-dockerd.log"
_SYSTEMD = ("sh", "-c", "[ -d /run/systemd/system ] && systemctl cat docker.service >/dev/null 2>&1")
_WORDS = "/var/lib/occam/engine.words"
# The words are kept out of every argument list but the engine's own: its environment may hold a proxy's password.
# They stay until it answers, for another try; then there is nothing to stop.
_STOP = f"""
umask 077
pid=$(cat /var/run/docker.pid 2>/dev/null) && grep -qs dockerd "/proc/$pid/cmdline" || {{ [ -e {_WORDS} ]; exit; }}
mkdir -p /var/lib/occam && cat "/proc/$pid/environ" "/proc/$pid/cmdline" >{_WORDS} && kill "$pid" && echo "$pid"
"""
_GONE = '[ -z "$1" ] || [ ! -e "/proc/$1" ] || ! grep -qs dockerd "/proc/$1/cmdline" && echo gone; true'
_LIVES = "grep -qsx dockerd /proc/[0-9]*/comm"
_START = f"""
rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
xargs -0 -a {_WORDS} setsid -f env -i >{_LOG} 2>&1 </dev/null
"""


def knows(machine: Machine) -> EngineGpus | None:
    """What the running engine knows of GPUs; None when none answers."""
    ran = machine.run([*_DOCKER, "info", "--format", "{{json .}}"], sudo=True, check=False)
    try:
        info = json.loads(ran.stdout) if ran.code == 0 else {}
    except ValueError:
        return None
    return engine_gpus(info) if info.get("ID") else None


def running(machine: Machine, but: Collection[str] = ()) -> int:
    """How many containers run. `but`: kinds of ours that do not count."""
    listed = machine.run([*_DOCKER, "ps", "--format", f'{{{{.ID}}}} {{{{.Label "{names.KIND}"}}}}'], sudo=True).stdout
    return sum(line.split()[-1] not in but for line in listed.splitlines())


def restart(machine: Machine) -> None:
    """Restart the engine and wait until it answers. Raises TookTooLong or HostError when it does not."""
    if machine.run(_SYSTEMD, check=False).code == 0:
        machine.run(["systemctl", "reset-failed", "docker"], sudo=True, check=False)
        machine.run(["systemctl", "restart", "docker"], sudo=True, seconds=STOP_SECONDS + START_SECONDS)
        see = "journalctl -u docker"
    else:
        _by_hand(machine)
        see = _LOG
    began = time.monotonic()

    def look() -> str:
        if knows(machine):
            return "answering"
        lives = machine.run(["sh", "-c", _LIVES], check=False).code == 0
        return "not answering" if lives or time.monotonic() - began < SETTLE_SECONDS else "ended"

    state = wait.until(
        look,
        lambda seen: seen != "not answering",
        f"the container engine on {machine.name}",
        seconds=START_SECONDS,
        describe=str,
        fix=f"see there: {see}",
    )
    if state == "ended":
        said = machine.run(["tail", "-n", "1", _LOG], sudo=True, check=False).stdout.strip()
        raise HostError(f"its engine ended at once: {said:.400}", where=machine.name, fix=f"see there: {see}")
    machine.run(["rm", "-f", _WORDS], sudo=True)


def _by_hand(machine: Machine) -> None:
    stopped = machine.run(["sh", "-c", _STOP], sudo=True, check=False)
    if stopped.code:
        raise HostError("its engine was not started in a way that occamctl knows", where=machine.name, fix="restart it")
    wait.until(
        lambda: machine.run(["sh", "-c", _GONE, "sh", stopped.stdout.strip()], check=False).stdout.strip(),
        bool,
        f"the end of the engine on {machine.name}",
        seconds=STOP_SECONDS,
        describe=lambda _: "running",
    )
    machine.run(["sh", "-c", _START], sudo=True)


def answers_again(machine: Machine) -> bool:
    """Restart; False when the engine does not come back."""
    try:
        restart(machine)
    except (HostError, TookTooLong):
        return False
    return True
