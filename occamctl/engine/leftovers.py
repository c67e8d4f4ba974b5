"""What one engine holds of a course, and its removal. Lists are trusted, exit codes are not (docker/cli#4082)."""

from __future__ import annotations

from dataclasses import dataclass

from docker.errors import APIError, NotFound

from occamctl import wait
from occamctl.engine import debian, ground, swarm, volumes
from occamctl.engine.client import Engine, speaking_to
from occamctl.spec import names

VOLUME_SECONDS = 60
_SWARM_BRIDGE = "docker_gwbridge"


@dataclass(frozen=True)
class Left:
    """Names of what is there, by kind. False when there is nothing but images."""

    containers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    formed_swarm: bool = False

    def __bool__(self) -> bool:
        return bool(
            self.containers
            or self.services
            or self.networks
            or self.secrets
            or self.configs
            or self.volumes
            or self.formed_swarm
            or self.images
        )


def _label(course: str) -> dict[str, list[str]]:
    return {"label": [f"{names.COURSE}={course}"]}


def left(engine: Engine, course: str) -> Left:
    """Everything with the course's label on this engine, and our images."""
    ours = {names.COURSE: course}
    state = swarm.in_swarm(engine)
    manager = bool(state and state.get("ControlAvailable"))
    with speaking_to(engine.name):
        containers = engine.api.containers(all=True, filters=_label(course))
        volumes = engine.api.volumes(filters=_label(course))["Volumes"] or []
        networks = engine.api.networks(filters=_label(course))
        made = engine.api.inspect_swarm()["Spec"].get("Labels") or {} if manager else {}
    return Left(
        containers=tuple(sorted(one["Names"][0].lstrip("/") for one in containers if one["Names"])),
        services=tuple(sorted(one["Spec"]["Name"] for one in swarm.services(engine, ours))) if manager else (),
        networks=tuple(sorted(one["Name"] for one in networks)),
        secrets=tuple(sorted(one["Spec"]["Name"] for one in ground.secrets(engine, ours))) if manager else (),
        configs=tuple(sorted(one["Spec"]["Name"] for one in ground.configs(engine, ours))) if manager else (),
        volumes=tuple(sorted(one["Name"] for one in volumes)),
        images=tuple(sorted(_images(engine))),
        formed_swarm=made.get(names.COURSE) == course,
    )


def _images(engine: Engine) -> list[str]:
    """Tags of our images and of what we pulled for them, and ids of those that lost theirs to a newer build."""
    with speaking_to(engine.name):
        listed = engine.api.images(filters={"label": [f"{names.KIND}=image"]})
    ours = [one["Id"] if tag == "<none>:<none>" else tag for one in listed for tag in one["RepoTags"] or [one["Id"]]]
    return ours + debian.pulled(engine)


def remove_containers(engine: Engine, course: str, *, seconds: float) -> None:
    """Wait for the course's containers to end, and remove what stays of them (moby#24244)."""

    def there() -> list[str]:
        with speaking_to(engine.name):
            listed = engine.api.containers(all=True, filters=_label(course))
            for one in listed:
                if one["State"] not in ("running", "removing"):
                    _quietly(lambda number=one["Id"]: engine.api.remove_container(number, v=False))
        return [one["Names"][0] for one in listed]

    wait.until(there, lambda seen: not seen, f"end of containers on {engine.name}", seconds=seconds)


def remove_volumes(engine: Engine, course: str) -> None:
    """Remove the course's volumes and wait until no list shows them."""

    def there() -> list[str]:
        with speaking_to(engine.name):
            listed = engine.api.volumes(filters=_label(course))["Volumes"] or []
            for one in listed:
                volumes.end_looks(engine, one["Name"])
                _quietly(lambda name=one["Name"]: engine.api.remove_volume(name))
        return [one["Name"] for one in listed]

    wait.until(there, lambda seen: not seen, f"removal of volumes on {engine.name}", seconds=VOLUME_SECONDS)


def remove_images(engine: Engine) -> None:
    """Remove our images from this engine; one that some container uses stays."""
    before: list[str] = []
    while (there := _images(engine)) != before:  # a layer under another image goes once that one is gone
        before = there
        for tag in there:
            with speaking_to(engine.name):
                _quietly(lambda tag=tag: engine.api.remove_image(tag))


def other_courses(engine: Engine, course: str) -> set[str]:
    """Courses that have something on this engine, but for `course`."""
    with speaking_to(engine.name):
        things = [
            *engine.api.containers(all=True, filters={"label": [names.COURSE]}),
            *(engine.api.volumes(filters={"label": [names.COURSE]})["Volumes"] or []),
        ]
    return {one["Labels"][names.COURSE] for one in things} - {course}


def other_services(manager: Engine) -> list[str]:
    """Names of all services of the swarm, once ours are gone."""
    with speaking_to(manager.name):
        return [one["Spec"]["Name"] for one in manager.api.services()]


def remove_swarm_bridge(engine: Engine) -> None:
    """The bridge that the engine makes for a swarm and forgets when it leaves."""
    with speaking_to(engine.name):
        _quietly(lambda: engine.api.remove_network(_SWARM_BRIDGE))


def _quietly(remove: object) -> None:
    """What cannot be removed yet shows in the next list."""
    try:
        remove()  # type: ignore[operator]
    except (NotFound, APIError):
        return
