"""The steps that turn what is observed into what is desired. Pure; `[]` is the proof that a course is up."""

from __future__ import annotations

from occamctl.plan import steps
from occamctl.plan.seen import Observed
from occamctl.plan.steps import Step
from occamctl.plan.wanted import LOCAL, Desired
from occamctl.spec import names

OWN_CLUSTER = "main"
"""The course's cluster that `occamctl spark scale N` makes."""


def diff(want: Desired, seen: Observed) -> list[Step]:
    """Every step that can be known now, in the order of the stages."""
    return [
        *_swarm(want, seen),
        *_images(want, seen),
        *_ground(want, seen),
        *_gpus(want, seen),
        *_front(want, seen),
        *_material(want, seen),
        *_people(want, seen),
        *_clusters(want, seen),
        *_data(want, seen),
        *_left_over(want, seen),
    ]


def first_stage(planned: list[Step]) -> list[Step]:
    """The steps of the first stage that has any: the others are planned again once these are done."""
    return [step for step in planned if step.stage is planned[0].stage] if planned else []


def _swarm(want: Desired, seen: Observed) -> list[Step]:
    planned: list[Step] = []
    for host in want.hosts:
        there = seen.hosts.get(host)
        address = want.addresses.get(host) or (there.facts.address if there and there.facts else host)
        if host == LOCAL:
            address = "127.0.0.1"
        if there is None or not there.in_swarm:
            if host == want.manager:
                planned.append(steps.FormSwarm(host, address))
            else:
                planned.append(steps.JoinSwarm(host, address, "manager" if want.roles[host] == "manager" else "worker"))
        missing = {
            key: value
            for key, value in want.node_labels[host].items()
            if seen.node_labels.get(host, {}).get(key) != value
        }
        if missing:
            planned.append(steps.LabelNode(host, tuple(sorted(missing.items()))))
    return planned


def _images(want: Desired, seen: Observed) -> list[Step]:
    planned: list[Step] = []
    for tag in sorted({tag for tags in want.images.values() for tag in tags}):
        lacking = [host for host in want.hosts if tag in want.images[host] and tag not in _images_on(seen, host)]
        if lacking and tag not in seen.builder_images:
            planned.append(steps.BuildImage(seen.builder, tag))
        planned += [steps.SendImage(host, tag) for host in lacking if host != seen.builder]
    return planned


def _images_on(seen: Observed, host: str) -> frozenset[str]:
    there = seen.hosts.get(host)
    return there.images if there else frozenset()


def _ground(want: Desired, seen: Observed) -> list[Step]:
    planned: list[Step] = []
    if want.network.name not in seen.networks:
        planned.append(steps.MakeNetwork("", want.network))
    planned += [steps.MakeSecret("", name) for name in want.secrets if name not in seen.secrets]
    planned += [steps.MakeConfig("", config) for config in want.configs if config.name not in seen.configs]
    return planned


def _gpus(want: Desired, seen: Observed) -> list[Step]:
    planned: list[Step] = []
    for host in want.hosts:
        lent, labels = want.lending.get(host), seen.node_labels.get(host, {})
        if lent is None:
            continue
        changed = {key: value for key, value in lent.labels.items() if labels.get(key) != value}
        if changed:
            planned.append(steps.LendGpus(host, tuple(sorted(changed.items())), len(lent.gpus)))
        if lent.prove and host not in seen.probed:
            uuids = tuple(sorted(gpu.uuid for gpu in lent.gpus))
            planned.append(steps.ProveGpus(host, uuids, lent.fingerprint, tuple(sorted(lent.keep.items()))))
    return planned


def _front(want: Desired, seen: Observed) -> list[Step]:
    """A gateway that cannot tell its clusters is waited for: what there is of them would be made again, or stay."""
    planned: list[Step] = []
    gateway = names.Names(want.course).gateway
    for service in want.services:
        there = seen.services.get(service.name)
        if there is None:
            planned.append(steps.PutService("", service, new=True))
        elif there.spec_hash != service.spec_hash:
            planned.append(steps.PutService("", service, new=False))
        elif service.name in want.unawaited:
            continue
        elif service.mode == "global":
            lacking = tuple(host for host in want.hosts if seen.hosts[host].node_id not in there.nodes)
            planned += [steps.AwaitService("", service.name, lacking)] if lacking else []
        elif there.replicas != service.replicas:
            planned.append(steps.PutService("", service, new=False))
        elif there.running < service.replicas or (service.name == gateway and seen.clusters is None):
            planned.append(steps.AwaitService("", service.name))
    return planned


def _material(want: Desired, seen: Observed) -> list[Step]:
    there = seen.material.digest if seen.material else ""
    return [steps.PutMaterial("", want.folders, new=not there)] if want.material != there and want.material else []


def _people(want: Desired, seen: Observed) -> list[Step]:
    there = {account.username: account for account in seen.accounts or ()}
    wanted = {account.username: account for account in want.accounts}
    add = tuple(name for name in wanted if name not in there)
    change = tuple(name for name in wanted if name in there and there[name] != wanted[name])
    remove = tuple(sorted(there.keys() - wanted.keys()))
    return [steps.PutAccounts("", add, change, remove)] if add or change or remove else []


def _clusters(want: Desired, seen: Observed) -> list[Step]:
    """Declared ones that left the file go; those made by hand stay, until the file declares one of that name."""
    there = seen.clusters or {}
    planned: list[Step] = [
        steps.RemoveCluster("", name)
        for name, one in sorted(there.items())
        if one.declared and name not in want.clusters
    ]
    for name, workers in want.clusters.items():
        one = there.get(name)
        if one is None:
            planned.append(steps.PutCluster("", name, workers))
        elif not one.declared or one.workers != workers:
            planned.append(steps.PutCluster("", name, workers, one.workers, adopt=not one.declared))
    return planned


def _data(want: Desired, seen: Observed) -> list[Step]:
    """What no host has is brought to the manager; what one has goes to the others. A sha256 counts more than a name."""
    planned: list[Step] = []
    for one in want.data:
        there = {host: seen.hosts[host].data.get(one.name) for host in want.hosts if host in seen.hosts}
        good = {
            host: data.version
            for host, data in there.items()
            if data and (data.sha256 == one.sha256 if one.sha256 else data.source == one.source)
        }
        first = next(iter(good), "")
        if not first:
            planned.append(steps.FetchData(want.manager, one.name, one.source))
            continue
        planned += [steps.SendData(host, one.name, first) for host in want.hosts if good.get(host) != good[first]]
    return planned


def _left_over(want: Desired, seen: Observed) -> list[Step]:
    """Settings that no service uses any more; the watcher of GPUs and the keeper of material that are not needed."""
    used = {config for there in seen.services.values() for config in there.configs}
    wanted = {config.name for config in want.configs}
    made = names.Names(want.course)
    idle = {made.gpus, made.material} & (seen.services.keys() - {service.name for service in want.services})
    return [
        *(steps.RemoveService("", name) for name in sorted(idle)),
        *(steps.RemoveConfig("", name) for name in sorted(seen.configs - used - wanted)),
    ]
