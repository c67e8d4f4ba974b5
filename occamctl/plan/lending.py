"""GPUs that the hosts of a course lend: labels of nodes, proof before one is given out, and the watcher. Pure.

A host whose GPUs cannot be given out is a host like any other; nothing here makes `course up` fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from occamctl.plan import desired, gpu_setup, gpus
from occamctl.plan.gpu_setup import Said
from occamctl.plan.observed import EngineGpus, Gpu, HostFacts
from occamctl.plan.seen import Observed
from occamctl.plan.wanted import Desired
from occamctl.spec import names
from occamctl.spec.course import Course
from occamctl.spec.units import size

WATCHER_PORT = 8090
WATCHER = "/etc/occam/gpus.py"
PROBE_SECONDS = 20
"""For nvidia-smi in a probe's container."""
_LIST = f'timeout -k 1 {PROBE_SECONDS} nvidia-smi -L 2>&1; echo "exit $?"'


@dataclass(frozen=True)
class Lending:
    """What one host lends.

    ready   whether its engine could give them out
    labels  of its node, as they should be; None: not there
    prove   whether a probe must look at them first
    keep    what stays out of service whatever the probe says, as gpus.OUT has it
    """

    gpus: tuple[Gpu, ...] = ()
    ready: bool = False
    labels: Mapping[str, str | None] = field(default_factory=dict)
    fingerprint: str = ""
    prove: bool = False
    keep: Mapping[str, str] = field(default_factory=dict)


def lends_label(course: str) -> str:
    """The node label of hosts whose GPUs a course's watcher looks at."""
    return f"occam.lends.{course}"


def said_of(course: Course, host: str) -> Said:
    """`gpus:` of a host; this machine, in a course without hosts, lends all that it has."""
    return next((one.gpus for one in course.hosts if one.hostname == host), "auto")


def lending(said: Said, facts: HostFacts, engine: EngineGpus | None, labels: Mapping[str, str], course: str) -> Lending:
    """What a host lends, with its node's `labels` as they are."""
    found = gpu_setup.lent(said, facts)
    if not gpu_setup.concerned(said, facts) or not (found or gpus.lent(labels)):
        return Lending(labels=dict.fromkeys((gpus.LENT, gpus.OUT, gpus.PROVEN, lends_label(course))))
    ready = not any(one.fatal for one in gpu_setup.lacks(said, facts, engine))
    trouble = _trouble(said, facts, gpus.lent(labels))
    gone = [one for one in gpus.lent(labels) if one.uuid in trouble or gpus.EVERY in trouble]
    all_of_them = {one.uuid: one for one in (*gone, *found)}
    before = gpus.out(labels)
    out = before | trouble
    fingerprint = gpus.fingerprint((one.uuid for one in found), facts.support.driver, facts.support.toolkit)
    proof = labels.get(gpus.PROVEN, "")
    return Lending(
        gpus=found,
        ready=ready,
        labels={
            gpus.LENT: gpus.label(all_of_them.values()),
            lends_label(course): "true" if ready else None,
            **({gpus.OUT: json.dumps(out, sort_keys=True)} if out != before else {}),
            # A driver that hangs does not tell its version; whoever holds a GPU keeps its proof then.
            **({gpus.PROVEN: None} if found and not gpus.proven(proof, fingerprint) else {}),
        },
        fingerprint=fingerprint,
        prove=ready and (proof != fingerprint or bool(before.keys() - trouble.keys())),
        keep=trouble,
    )


def _trouble(said: Said, facts: HostFacts, lent: Iterable[Gpu]) -> dict[str, str]:
    """GPUs that were lent and that the driver lost, with its words; all of them, when it shows none any more.

    One that is gone without a word was taken out, or cut up anew: it is lent no more.
    """
    there = facts.support
    why = "its driver hangs" if there.hangs else "; ".join(there.trouble)
    if not why:
        return {}
    if not facts.gpus:
        return {gpus.EVERY: why}
    has = {gpu.uuid for gpu in facts.gpus}
    wanted = None if isinstance(said, str) else {uuid.lower() for uuid in said}
    return {one.uuid: why for one in lent if one.uuid not in has and (wanted is None or one.uuid.lower() in wanted)}


# The watcher --------------------------------------------------------------------------------------------------------


def lend(want: Desired, course: Course, seen: Observed, watcher: str) -> Desired:
    """`want` with what its hosts lend, and a watcher where one of them does.

    watcher  the program that each of them runs
    """
    made = {
        host: lending(
            said_of(course, host), there.facts, there.engine_gpus, seen.node_labels.get(host, {}), course.course
        )
        for host, there in seen.hosts.items()
        if there.facts
    }
    if not any(one.ready for one in made.values()):
        return replace(want, lending=made)
    config = desired.Config(
        f"{course.course}-gpus-settings-{names.digest(watcher)}",
        watcher.encode(),
        desired.labels(course.course, "config"),
    )
    service = desired.Service(
        name=course.names.gpus,
        image=want.images[want.manager][-1],
        labels=desired.labels(course.course, "gpus"),
        command=("python", "-u", WATCHER, str(WATCHER_PORT)),
        # It looks at all GPUs of its host; it may compute on none of them.
        env={
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "utility",
            "OCCAM_NODE": "{{.Node.ID}}",
            "OCCAM_HOST": "{{.Node.Hostname}}",
        },
        user="1000",
        secrets=(desired.File(course.names.gateway_token, "/run/secrets/gateway-token", uid="1000", gid="1000"),),
        configs=(desired.File(config.name, WATCHER, mode=0o444),),
        networks=(course.names.hub_net,),
        constraints=(f"node.labels.{lends_label(course.course)} == true",),
        mem_limit=size("128M"),
        pids_limit=64,
        stop_grace=2,
        mode="global",
    )
    return replace(
        want,
        images=_images(want, (host for host, one in made.items() if one.ready)),
        configs=(*want.configs, config),
        services=(*want.services, service),
        # A lost GPU may keep a container that is to see all of them from starting; the course can do without.
        unawaited=want.unawaited | {service.name},
        lending=made,
    )


def _images(want: Desired, lenders: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The image with CUDA is large: only hosts that lend GPUs get it."""
    more = {host: (want.gpu_image,) for host in lenders if want.gpu_image}
    return {host: (*tags, *more.get(host, ())) for host, tags in want.images.items()}


# The proof ----------------------------------------------------------------------------------------------------------


def probes(uuids: Iterable[str]) -> list[tuple[str, ...]]:
    """What each of a host's probe containers is assigned: the first GPU, all the others, and none.

    A runtime that gives everybody everything shows in each of them, one that mixes GPUs up in the first two, and a GPU
    that it does not know in the one that should have it.
    """
    first, *others = sorted(uuids)
    return [(first,), *([tuple(others)] if others else []), ()]


def probe(course: str, number: int, node: str, image: str, assigned: tuple[str, ...]) -> desired.Service:
    """A container that lists the GPUs that it sees, in the clothes of a student's."""
    return desired.Service(
        name=f"{course}-gpu-probe-{node[:8]}-{number}",
        image=image,
        labels=desired.labels(course, "probe"),
        command=("sh", "-c", _LIST),
        env=gpus.visible(bool(assigned)),
        constraints=(f"node.id == {node}",),
        mem_limit=size("128M"),
        pids_limit=32,
        stop_grace=2,
        restart="none",
        generic=tuple(gpus.kind(uuid) for uuid in assigned),
    )


def verdict(assigned: Iterable[str], printed: str) -> str:
    """What is wrong with what a probe printed; "" when it saw exactly what it was assigned."""
    wanted, found = set(assigned), visible(printed)
    if re.search(r"^exit (124|137)$", printed, re.MULTILINE):
        return f"nvidia-smi in a container does not end within {PROBE_SECONDS} s"
    if wanted == found:
        return ""
    if not found:
        said = next((line for line in printed.splitlines() if line and not line.startswith("exit ")), "nothing")
        return f"a container that was assigned {_some(wanted)} sees none; nvidia-smi there says: {said:.200}"
    return f"a container that was assigned {_some(wanted)} sees {_some(found)}"


def visible(printed: str) -> set[str]:
    """UUIDs of whole GPUs and of MIG instances that `nvidia-smi -L` lists; a GPU with instances is not counted."""
    found: list[str] = []
    for uuid in re.findall(r"\(UUID: ([^)\s]+)\)", printed):
        if uuid.startswith("MIG-") and found and found[-1].startswith("GPU-"):
            found.pop()
        found.append(uuid)
    return set(found)


def _some(uuids: Iterable[str]) -> str:
    return ", ".join(sorted(uuids)) or "none"
