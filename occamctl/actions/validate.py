"""`occamctl validate`: what a course file asks for, in short."""

from __future__ import annotations

from collections import Counter
from typing import Any

from occamctl.actions.sources import Sources
from occamctl.spec.course import Course, Quota
from occamctl.spec.units import human_size

THIS_MACHINE = "this machine's Docker engine"


def check_material(course: Course, file: str) -> None:
    """Read the material that is on this machine; `course plan` reads what comes from git. Raises SpecError."""
    Sources(course, file).check(fetch=False)


def summary(course: Course) -> dict[str, Any]:
    """Course, hosts, people and quotas; sizes as text, such as 4G."""
    return {
        "course": course.course,
        "title": course.title,
        "term": course.term.model_dump(mode="json") if course.term else None,
        "hosts": [host.hostname for host in course.hosts],
        "manager": course.manager.hostname if course.manager else None,
        "instructors": [person.username for person in course.instructors],
        "students": len(course.students),
        "groups": dict(sorted(Counter(person.group for person in course.students if person.group).items())),
        "notebook": {"cpus": course.notebook.cpu_limit, "memory": human_size(course.notebook.mem_limit)},
        "worker": {"cpus": course.spark.worker.cpus, "memory": human_size(course.spark.worker.memory)},
        "quotas": {name: quota.model_dump() for name, quota in _quotas(course).items()},
        "material": {one.into: one.source for one in course.material},
        "clusters": {cluster.name: cluster.workers for cluster in course.spark.clusters},
        "at_most": _at_most(course),
        "guaranteed": _guaranteed(course),
    }


def _quotas(course: Course) -> dict[str, Quota]:
    return {"student": course.quotas.student, "instructor": course.quotas.instructor, **course.quotas.groups}


def _people(course: Course) -> list[Quota]:
    """The quota of everybody."""
    quotas = course.quotas
    roles = [
        *((person, quotas.instructor) for person in course.instructors),
        *((person, quotas.groups.get(person.group, quotas.student)) for person in course.students),
    ]
    return [quotas.users.get(person.username, quota) for person, quota in roles]


def _at_most(course: Course) -> dict[str, Any]:
    """What it takes when everybody takes all that they may: no host needs to have it, but it is good to know."""
    quotas = _people(course)
    notebooks = len(quotas)
    workers = sum(quota.workers for quota in quotas) + sum(cluster.workers for cluster in course.spark.clusters)
    memory = notebooks * course.notebook.mem_limit + workers * course.spark.worker.memory
    return {
        "notebooks": notebooks,
        "workers": workers,
        "cpus": round(notebooks * course.notebook.cpu_limit + workers * course.spark.worker.cpus, 1),
        "memory": human_size(memory),
    }


def _guaranteed(course: Course) -> dict[str, Any]:
    """What the hosts must have, so that everybody can have the guarantee at the same time."""
    workers, worker = sum(quota.guarantee for quota in _people(course)), course.spark.worker
    return {"workers": workers, "cpus": workers * worker.cpus, "memory": human_size(workers * worker.memory)}


def rows(said: dict[str, Any]) -> list[dict[str, str]]:
    """The summary for people: one row for each thing."""
    groups = ", ".join(f"{count} in {group}" for group, count in said["groups"].items())
    quotas = "; ".join(f"{name} {quota['workers']} workers" for name, quota in said["quotas"].items())
    most = said["at_most"]
    size = f"{most['cpus']:g} CPUs, {most['memory']}"
    shown = {
        "course": f"{said['course']}{' · ' + said['title'] if said['title'] else ''}",
        "hosts": ", ".join(f"{host}{' (manager)' if host == said['manager'] else ''}" for host in said["hosts"]),
        "instructors": ", ".join(said["instructors"]) or "nobody",
        "students": f"{said['students']}{f' ({groups})' if groups else ''}",
        "notebook": f"{said['notebook']['cpus']:g} CPUs, {said['notebook']['memory']}",
        "Spark worker": f"{said['worker']['cpus']} CPUs, {said['worker']['memory']}",
        "quotas": quotas,
        "clusters": ", ".join(f"{name} ({workers} workers)" for name, workers in said["clusters"].items()) or "none",
        "material": ", ".join(f"{into} from {source}" for into, source in said["material"].items()) or "none",
        "all of it": f"{most['notebooks']} notebooks, {most['workers']} workers: {size}",
    }
    shown["hosts"] = shown["hosts"] or THIS_MACHINE
    if said["guaranteed"]["workers"]:
        shown["guaranteed"] = "{workers} workers: {cpus} CPUs, {memory}".format(**said["guaranteed"])
    if said["term"]:
        shown["term"] = "{start} to {end} ({timezone})".format(**said["term"])
    return [{"of": name, "what": text} for name, text in shown.items()]
