"""The keeper of the material as a service, and the step that tells it what is there."""

from __future__ import annotations

from datetime import UTC, datetime

from occamctl.plan import steps
from occamctl.plan.diff import diff
from occamctl.plan.material import Manifest, kept, manifest
from occamctl.plan.seen import Observed, SeenMaterial, SeenService
from occamctl.plan.steps import Step
from occamctl.plan.wanted import Desired, Tags, material_url, want
from occamctl.spec.course import Course

RELEASE = {"03-*": datetime(2026, 11, 2, 9, tzinfo=UTC)}
MATERIAL = [
    {"built_in": "labs", "into": "labs"},
    {"git": "https://a.b/c", "into": "more/exercises", "release": RELEASE},
]
COURSE = Course.model_validate({"version": 1, "course": "ml", "material": MATERIAL})
NONE = Course.model_validate({"version": 1, "course": "ml", "material": []})
TOLD = manifest(COURSE, {"labs": "c1", "more/exercises": "c2"})


def wanted(course: Course = COURSE, told: Manifest = TOLD, program: str = "program") -> Desired:
    return kept(want(course, Tags("hub:1", "notebook:1")), course, told, program)


def planned(seen: SeenMaterial | None) -> list[Step]:
    return [step for step in diff(wanted(), Observed(hosts={}, material=seen)) if step.stage is steps.Stage.MATERIAL]


def test_the_keeper_sees_all_of_it_and_notebooks_find_it() -> None:
    keeper = wanted().services[-1]
    assert (keeper.name, keeper.image, keeper.networks) == ("ml-material", "notebook:1", ("ml-net",))
    assert [(mount.source, mount.type) for mount in keeper.mounts] == [("ml-material", "volume")]
    assert keeper.mounts[0].labels["occam.course"] == "ml", "so `course down` finds the volume"
    assert material_url(COURSE) == "git://tasks.ml-material/material.git"
    assert b"git://tasks.ml-material/material.git" in wanted().configs[1].data


def test_a_new_program_is_a_change_of_the_keeper_and_new_material_is_not() -> None:
    same = wanted(told=manifest(COURSE, {"labs": "c9", "more/exercises": "c2"})).services[-1]
    assert same.spec_hash == wanted().services[-1].spec_hash
    assert wanted(program="other").services[-1].spec_hash != same.spec_hash


def test_material_is_delivered_once() -> None:
    (step,) = planned(None)
    assert (step.what, step.kind) == ("deliver the material for labs, more/exercises", "add")
    (step,) = planned(SeenMaterial("other"))
    assert (step.what, step.kind) == ("update the material for labs, more/exercises", "change")
    assert planned(SeenMaterial(TOLD.digest)) == []


def test_a_date_is_told_in_seconds_and_counts_for_the_digest() -> None:
    assert TOLD.entries[1]["release"] == {"03-*": 1793610000.0}
    at_once = COURSE.model_copy(
        update={"material": [one.model_copy(update={"release": {}}) for one in COURSE.material]}
    )
    assert manifest(at_once, {"labs": "c1", "more/exercises": "c2"}).digest != TOLD.digest


def test_without_material_there_is_no_keeper_and_one_that_runs_goes() -> None:
    nothing = wanted(NONE, Manifest(()))
    assert "ml-material" not in {service.name for service in nothing.services}
    assert (nothing.material, material_url(NONE)) == ("", "")
    left = diff(nothing, Observed(hosts={}, services={"ml-material": SeenService("x", 1, 1)}))
    assert steps.RemoveService("", "ml-material") in left
