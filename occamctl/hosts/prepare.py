"""A container engine on a Debian or Ubuntu host, and the host as it was found afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from occamctl import wait
from occamctl.errors import HostError, Refused
from occamctl.hosts import walls
from occamctl.hosts.facts import gather, too_old
from occamctl.hosts.machine import Machine
from occamctl.plan import apt

Say = Callable[[str], None]
NOTES = "/var/lib/occam/engine.json"
"""What we did to the host and how it was before, kept on the host."""
LOG = "/var/log/occam-dockerd.log"
PACKAGES = ("docker.io", "iptables", "iproute2", "nftables", "ca-certificates")
APT_SECONDS = 900
START_SECONDS = 90
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")
_VERSION = ("docker", "-H", "unix:///var/run/docker.sock", "version", "--format", "{{.Server.Version}}")
# Without an init system the engine is a process of its own session that outlives this connection.
# An engine that was killed leaves its number behind; where another process has that number by now, dockerd refuses to
# start, for ever. Only a number that is no engine's is taken away.
_BY_HAND = f"""
for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
  [ -f "$file" ] && ! grep -qsE 'dockerd|containerd' "/proc/$(cat "$file")/comm" && rm -f "$file"
done
setsid -f dockerd >{LOG} 2>&1 </dev/null
"""
# An engine changes these, and does not change them back.
_BEFORE = """
export PATH="$PATH:/usr/sbin:/sbin"
echo "forward $(cat /proc/sys/net/ipv4/ip_forward)"
echo "policy $(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')"
echo "lists $(ls /var/lib/apt/lists 2>/dev/null | grep -c _)"
echo "group $(getent group docker >/dev/null && echo yes)"
echo "config $([ -e /etc/docker ] && echo yes)"
echo "enabled $(systemctl is-enabled docker 2>/dev/null)"
"""


def engine_runs(machine: Machine) -> bool:
    """Does an engine answer on this machine?"""
    return bool(_version(machine))


def _version(machine: Machine) -> str:
    """Version of the engine that answers, "" when none does."""
    ran = machine.run(_VERSION, check=False)  # most often root's alone, but not on everybody's laptop
    if ran.code and ran.code != 127:
        ran = machine.run(_VERSION, sudo=True, check=False)
    return ran.stdout.strip() if ran.code == 0 else ""


def prepare(machine: Machine, say: Say) -> list[str]:
    """Ensure that an engine runs; returns what was done, nothing when it ran already.

    Raises HostError when the system is not one that we know, or the engine that is there is too old or does not start.
    """
    version = _version(machine)
    if version:
        if too_old(version):
            raise HostError(f"its engine {version} is too old", where=machine.name, fix="install 20.10 or newer")
        return []
    did = []
    if machine.run(["sh", "-c", "PATH=$PATH:/usr/sbin command -v dockerd"], check=False).code:
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
    say(f"no container engine here: installing {PACKAGES[0]} of {system} with apt")
    before = installed(machine)
    _note_before(machine)
    machine.run([*APT, "-o", "APT::Update::Error-Mode=any", "update"], sudo=True, seconds=APT_SECONDS)
    try:
        machine.run([*APT, "install", "--no-install-recommends", *PACKAGES], sudo=True, seconds=APT_SECONDS)
    finally:  # also what an installation left that broke off
        new = sorted(installed(machine) - before)
        _note(machine, {"packages": [*_names(machine, "packages"), *new]})
    return f"installed {', '.join(new[:3])}{f' and {len(new) - 3} more packages' if len(new) > 3 else ''}"


def installed(machine: Machine) -> set[str]:
    """Names of the packages that are installed."""
    return apt.installed(machine.run(apt.LISTING).stdout)


def _start(machine: Machine, say: Say) -> str:
    say("starting the container engine")
    _note_before(machine)
    systemd = machine.run(["test", "-d", "/run/systemd/system"], check=False).code == 0
    _note(machine, {"started": "systemd" if systemd else "by hand"})
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
        fix="there, see: journalctl -u docker" if systemd else f"see {LOG} there",
    )
    note_engine(machine)
    return "started the engine"


# What we noted ------------------------------------------------------------------------------------------------------


def _notes(machine: Machine) -> dict[str, object]:
    kept = machine.run(["cat", NOTES], sudo=True, check=False)
    return dict(json.loads(kept.stdout)) if kept.code == 0 else {}


def _names(machine: Machine, key: str) -> list[str]:
    listed = _notes(machine).get(key)
    return [str(one) for one in listed] if isinstance(listed, list) else []


def _note(machine: Machine, what: dict[str, object]) -> None:
    machine.put(NOTES, json.dumps(_notes(machine) | what).encode())


def note_engine(machine: Machine) -> None:
    """The engine has been restarted: if it was one that we started, it still is."""
    if _notes(machine).get("started"):
        _note(machine, {"pid": machine.run(["cat", "/var/run/docker.pid"], sudo=True, check=False).stdout.strip()})


def _note_before(machine: Machine) -> None:
    """How the host was when we found it: only the first time."""
    if "before" not in _notes(machine):
        said = machine.run(["sh", "-c", _BEFORE], sudo=True).stdout
        _note(machine, {"before": dict(re.findall(r"^(\w+) ?(.*)$", said, re.MULTILINE))})


# The way back -------------------------------------------------------------------------------------------------------


def undo_prepare(machine: Machine, say: Say, table: str = "") -> list[str]:
    """Leave the host as it was before `prepare`; an engine that was there before stays. Returns what was done.

    table  the course's table of rules for containers, which goes too

    Raises Refused when the engine that we installed holds containers or volumes: whoever made them would lose them.
    """
    notes = _notes(machine)
    packages, before = _names(machine, "packages"), notes.get("before")
    was = {str(key): str(value) for key, value in before.items()} if isinstance(before, dict) else {}
    if packages:
        _refuse_to_lose(machine)
    did = ["the rules for containers removed"] if table and walls.take_away(machine, table) else []
    if not notes:
        return did
    if notes.get("started"):
        say("stopping the container engine")
        _stop(
            machine, systemd=notes["started"] == "systemd", pid=str(notes.get("pid", "")), ours=bool(packages), was=was
        )
        did.append("the engine stopped")
    if packages:
        say(f"removing {len(packages)} packages")
        machine.run(["sh", "-c", _RULES, "sh", was.get("forward", ""), was.get("policy") or "ACCEPT"], sudo=True)
        machine.run([*APT, "purge", *packages], sudo=True, seconds=APT_SECONDS)
        kept = [was.get(what, "") for what in ("lists", "group", "config")]
        machine.run(["sh", "-c", _FILES, "sh", *kept], sudo=True)
        did.append(f"{len(packages)} packages removed")
    machine.run(["rm", "-rf", "/var/lib/occam", LOG], sudo=True)
    return did


def _refuse_to_lose(machine: Machine) -> None:
    if not engine_runs(machine):
        return
    docker = _VERSION[:3]
    containers = machine.run([*docker, "ps", "-aq"], sudo=True).stdout.split()
    volumes = machine.run([*docker, "volume", "ls", "-q"], sudo=True).stdout.split()
    if containers or volumes:
        raise Refused(
            f"the engine that occamctl installed holds {len(containers)} containers and {len(volumes)} volumes",
            where=machine.name,
            fix="look: docker ps -a; docker volume ls. Remove what nobody needs, then run it again",
        )
    machine.run([*docker, "network", "prune", "-f"], sudo=True)  # their bridges would stay behind


def _stop(machine: Machine, *, systemd: bool, pid: str, ours: bool, was: dict[str, str]) -> None:
    if systemd:
        verb = "stop" if was.get("enabled") == "enabled" else "disable --now"
        units: Sequence[str] = ("docker.socket", "docker")
        machine.run(["systemctl", *verb.split(), *units], sudo=True, seconds=START_SECONDS)
    else:
        machine.run(["sh", "-c", _KILL, "sh", "" if ours else pid], sudo=True)
    wait.until(
        lambda: machine.run(["sh", "-c", _ALIVE, "sh", pid], check=False).stdout.strip(),
        lambda seen: not seen,
        f"the end of the engine on {machine.name}",
        seconds=START_SECONDS,
        describe=lambda seen: seen,
    )


# $1 is the process that we started: an engine that somebody else started since is theirs. "" means any.
_KILL = 'now=$(cat /var/run/docker.pid 2>/dev/null) && { [ -z "$1" ] || [ "$now" = "$1" ]; } && kill "$now"; true'
# A process that has ended and that nobody waits for has no command line.
_ALIVE = '[ -n "$1" ] && grep -qs dockerd "/proc/$1/cmdline" && echo running; true'
# The engine's bridges and its chains in the packet filter go (DOCKER_OUTPUT is of an engine around this one);
# forwarding ($1) and its policy ($2) become what they were.
_RULES = """
export PATH="$PATH:/usr/sbin:/sbin"
for bridge in docker0 docker_gwbridge; do ip link delete "$bridge" 2>/dev/null; done
for save in iptables-save ip6tables-save; do
  command -v "$save" >/dev/null || continue
  "$save" | grep -v -E 'DOCKER( |-|$)|docker0|docker_gwbridge' | "${save%-save}-restore" 2>/dev/null
done
iptables -P FORWARD "$2"
[ -z "$1" ] || echo "$1" >/proc/sys/net/ipv4/ip_forward
exit 0
"""
# How many package lists ($1), a group docker ($2), /etc/docker ($3) there were before. A mount point cannot be removed.
_FILES = """
rm -rf /var/lib/docker/* /var/lib/containerd /etc/containerd
rm -rf /var/run/docker /var/run/docker.sock /run/containerd
rmdir /var/lib/docker /opt/containerd/* /opt/containerd 2>/dev/null
[ "$1" != 0 ] || find /var/lib/apt/lists -type f -delete
[ -n "$2" ] || groupdel docker 2>/dev/null
[ -n "$3" ] || rm -rf /etc/docker
exit 0
"""
