"""Material of a course: what is sent to its keeper, and the service that publishes it when it is due. Pure.

All of it lies in one volume on the manager, and notebooks pull what is released over the course's own network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from occamctl.plan import desired
from occamctl.plan.wanted import Desired, front_label
from occamctl.spec import names
from occamctl.spec.course import Course, Material
from occamctl.spec.units import size

PROGRAM = "/etc/occam/material.py"
PLACE = "/srv/material"
FULL = f"{PLACE}/full"
"""Where contents are sent to."""


def command(word: str) -> list[str]:
    """The keeper's program with one of its commands."""
    return ["/opt/occam/venv/bin/python", "-IS", PROGRAM, word]


@dataclass(frozen=True)
class Manifest:
    """What the keeper is told: the entries of the course file, with what is in them by its name."""

    entries: tuple[Mapping[str, Any], ...]

    @property
    def digest(self) -> str:
        """The same for the same material with the same dates."""
        return names.digest(json.dumps(self.entries, sort_keys=True))

    def as_json(self) -> bytes:
        return json.dumps({"digest": self.digest, "entries": self.entries}).encode()


def manifest(course: Course, contents: Mapping[str, str]) -> Manifest:
    """The manifest of a course; `contents` is what is in each entry's folder, by a name of its own."""
    return Manifest(
        tuple(
            {
                "into": one.into,
                "source": one.source,
                "content": contents[one.into],
                "release": released(course, one),
            }
            for one in course.material
        )
    )


def released(course: Course, entry: Material) -> dict[str, float]:
    """When what each pattern means is released, in seconds since 1970."""
    return {pattern: course.moment(when).timestamp() for pattern, when in entry.release.items()}


def kept(want: Desired, course: Course, told: Manifest, program: str) -> Desired:
    """`want` with the keeper of the material, and what it should have; as it is when the course has none.

    program  its text
    """
    if not course.material:
        return want
    name = f"{course.course}-material-program-{names.digest(program)}"
    config = desired.Config(name, program.encode(), desired.labels(course.course, "config"))
    keeper = desired.Service(
        name=course.names.material,
        # git is in the notebooks' image.
        image=want.images[want.manager][-1],
        labels=desired.labels(course.course, "material"),
        command=tuple(command("serve")),
        user="0",
        cap_add=("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"),
        mounts=(desired.Mount(course.names.material, PLACE, labels=desired.labels(course.course, "volume")),),
        configs=(desired.File(name, PROGRAM, mode=0o444),),
        networks=(course.names.hub_net,),
        constraints=(f"node.labels.{front_label(course.course)} == true",),
        mem_limit=size("1G"),
        pids_limit=1024,
        stop_grace=2,
    )
    return replace(
        want,
        configs=(*want.configs, config),
        services=(*want.services, keeper),
        material=told.digest,
        folders=tuple(one.into for one in course.material),
    )
