"""A container engine on a Debian or Ubuntu host, and the host as it was found afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable

from occamctl import wait
from occamctl.errors import HostError
from occamctl.hosts.facts import gather, too_old
from occamctl.hosts.machine import Machine

Say = Callable[[str], None]
NOTES = "/var/lib/occam/engine.json"
"""What we did to the host, kept on the host: packages, and whether we started the engine."""
PACKAGES = ("docker.io", "iptables", "ca-certificates")
APT_SECONDS = 900
START_SECONDS = 90
_APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")
# Without an init system the engine is a process of its own session that outlives this connection.
_BY_HAND = "setsid -f dockerd >/var/log/occam-dockerd.log 2>&1 </dev/null"


def engine_runs(machine: Machine) -> bool:
    return machine.run(["docker", "version", "--format", "{{.Server.Version}}"], sudo=True, check=False).code == 0


def prepare(machine: Machine, say: Say) -> list[str]:
    """Ensure that an engine runs; returns what was done, nothing when it ran already.

    Raises HostError when the system is not one that we know, or the engine that is there is too old or does not start.
    """
    if engine_runs(machine):
        facts = gather(machine)
        if too_old(facts.engine):
            raise HostError(f"its engine {facts.engine} is too old", where=machine.name, fix="install 20.10 or newer")
        return []
    did = []
    if machine.run(["sh", "-c", "command -v dockerd"], check=False).code:
        did.append(_install(machine, say))
    did.append(_start(machine, say))
    return did


def _install(machine: Machine, say: Say) -> str:
    system = gather(machine).system
    if not system.startswith(("debian", "ubuntu")):
        raise HostError(
            f"no container engine, and {system} is not a system that occamctl installs one on",
            where=machine.name,
            fix="install Docker 20.10 or newer by hand (https://docs.docker.com/engine/install)",
        )
    say(f"no container engine here: installing Debian's {PACKAGES[0]} with apt")
    before = _installed(machine)
    machine.run([*_APT, "update"], sudo=True, seconds=APT_SECONDS)
    machine.run([*_APT, "install", "--no-install-recommends", *PACKAGES], sudo=True, seconds=APT_SECONDS)
    new = sorted(_installed(machine) - before)
    _note(machine, {"packages": new})
    return f"installed {', '.join(new[:3])}{f' and {len(new) - 3} more packages' if len(new) > 3 else ''}"


def _installed(machine: Machine) -> set[str]:
    listed = machine.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n"]).stdout
    return {line.split()[-1] for line in listed.splitlines() if line.startswith("ii")}


def _start(machine: Machine, say: Say) -> str:
    say("starting the container engine")
    systemd = machine.run(["test", "-d", "/run/systemd/system"], check=False).code == 0
    if systemd:
        machine.run(["systemctl", "enable", "--now", "docker"], sudo=True, seconds=START_SECONDS)
    else:
        machine.run(["sh", "-c", _BY_HAND], sudo=True)
    wait.until(
        lambda: engine_runs(machine),
        bool,
        f"the container engine on {machine.name}",
        seconds=START_SECONDS,
        describe=lambda _: "not answering",
        fix="see /var/log/occam-dockerd.log there, or: journalctl -u docker",
    )
    _note(machine, {"started": "systemd" if systemd else "by hand"})
    return "started the engine"


def _notes(machine: Machine) -> dict[str, object]:
    kept = machine.run(["cat", NOTES], sudo=True, check=False)
    return dict(json.loads(kept.stdout)) if kept.code == 0 else {}


def _note(machine: Machine, what: dict[str, object]) -> None:
    machine.put(NOTES, json.dumps(_notes(machine) | what).encode())


def undo_prepare(machine: Machine, say: Say) -> list[str]:
    """Leave the host as it was before `prepare`; an engine that was there before stays. Returns what was done."""
    notes = _notes(machine)
    did = []
    if notes.get("started"):
        say("stopping the container engine")
        _stop(machine, systemd=notes["started"] == "systemd")
        did.append("the engine stopped")
    packages = notes.get("packages")
    if isinstance(packages, list) and packages:
        say(f"removing {len(packages)} packages")
        machine.run([*_APT, "purge", *packages], sudo=True, seconds=APT_SECONDS)
        machine.run(["sh", "-c", _RESIDUE], sudo=True)
        did.append(f"{len(packages)} packages removed")
    if notes:
        machine.run(["rm", "-rf", "/var/lib/occam"], sudo=True)
    return did


def _stop(machine: Machine, *, systemd: bool) -> None:
    if systemd:
        machine.run(["systemctl", "disable", "--now", "docker.socket", "docker"], sudo=True, seconds=START_SECONDS)
    else:
        machine.run(["sh", "-c", _KILL], sudo=True)
        wait.until(
            lambda: engine_runs(machine),
            lambda runs: not runs,
            f"the end of the engine on {machine.name}",
            seconds=START_SECONDS,
            describe=lambda _: "running",
        )


_KILL = '[ ! -f /var/run/docker.pid ] || kill "$(cat /var/run/docker.pid)"'
# What the engine leaves behind: its data, its bridges, and its chains in the packet filter.
_RESIDUE = """
for i in 1 2 3 4 5 6 7 8 9 10; do [ -f /var/run/docker.pid ] || break; sleep 1; done
rm -rf /var/lib/docker /var/lib/containerd /etc/docker /var/run/docker /var/run/docker.sock /var/log/occam-dockerd.log
for bridge in docker0 docker_gwbridge; do ip link delete "$bridge" 2>/dev/null; done
for save in iptables-save ip6tables-save; do
  command -v "$save" >/dev/null || continue
  "$save" | grep -v -E 'DOCKER|docker0|docker_gwbridge' | "${save%-save}-restore" 2>/dev/null
done
exit 0
"""
