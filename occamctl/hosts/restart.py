"""Restart a host's container engine as it was started: by systemd, or with its own command line and environment."""

from __future__ import annotations

import json

from occamctl import wait
from occamctl.errors import HostError, TookTooLong
from occamctl.hosts.machine import Machine
from occamctl.plan.gpu_setup import engine_gpus
from occamctl.plan.observed import EngineGpus

STOP_SECONDS, START_SECONDS = 120, 90
_DOCKER = ("docker", "-H", "unix:///var/run/docker.sock")
_LOG = "/var/log/occam-dockerd.log"
_SYSTEMD = ("sh", "-c", "[ -d /run/systemd/system ] && systemctl is-active --quiet docker")
# The words are kept out of every argument list but the engine's own: its environment may hold a proxy's password.
_STOP = """
umask 077
pid=$(cat /var/run/docker.pid) && mkdir -p /var/lib/occam || exit 1
cat "/proc/$pid/environ" "/proc/$pid/cmdline" >/var/lib/occam/engine.words && kill "$pid" && echo "$pid"
"""
_GONE = '[ ! -e "/proc/$1" ] || ! grep -qs dockerd "/proc/$1/cmdline" && echo gone; true'
_START = f"""
xargs -0 -a /var/lib/occam/engine.words setsid -f env -i >{_LOG} 2>&1 </dev/null
code=$?; rm -f /var/lib/occam/engine.words; exit $code
"""


def knows(machine: Machine) -> EngineGpus | None:
    """What the running engine knows of GPUs; None when none answers."""
    ran = machine.run([*_DOCKER, "info", "--format", "{{json .}}"], sudo=True, check=False)
    try:
        info = json.loads(ran.stdout) if ran.code == 0 else {}
    except ValueError:
        return None
    return engine_gpus(info) if info.get("ID") else None


def running(machine: Machine) -> int:
    """How many containers run."""
    return len(machine.run([*_DOCKER, "ps", "-q"], sudo=True).stdout.split())


def restart(machine: Machine) -> None:
    """Restart the engine and wait until it answers. Raises TookTooLong or HostError when it does not."""
    if machine.run(_SYSTEMD, check=False).code == 0:
        machine.run(["systemctl", "restart", "docker"], sudo=True, seconds=STOP_SECONDS + START_SECONDS)
        see = "journalctl -u docker"
    else:
        _by_hand(machine)
        see = f"see {_LOG}"
    wait.until(
        lambda: knows(machine) is not None,
        bool,
        f"the container engine on {machine.name}",
        seconds=START_SECONDS,
        describe=lambda _: "not answering",
        fix=f"there: {see}",
    )


def _by_hand(machine: Machine) -> None:
    pid = machine.run(["sh", "-c", _STOP], sudo=True).stdout.strip()
    if not pid.isdecimal():
        raise HostError("its engine was not started in a way that occamctl knows", where=machine.name, fix="restart it")
    wait.until(
        lambda: machine.run(["sh", "-c", _GONE, "sh", pid], check=False).stdout.strip(),
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
