"""GPUs in a service: reserved in the swarm, or told by us where an old manager would kill what has reserved some."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from occamctl.engine.service_json import kills_what_has_gpus, service_json
from occamctl.plan import desired, gpus
from occamctl.plan.observed import Gpu

GPU = Gpu("GPU-7f0c", "Tesla T4", 16 << 30)


def engine(*versions: str) -> Any:
    """A swarm whose managers have these engines."""
    managers = [{"Description": {"Engine": {"EngineVersion": one}}} for one in versions]
    api = SimpleNamespace(nodes=lambda filters: managers, secrets=list, configs=list)
    return SimpleNamespace(name="host", api=api)


@pytest.mark.parametrize(
    ("versions", "kills"),
    [
        (["20.10.24+dfsg1"], True),
        (["23.0.1"], True),
        (["23.0.2"], False),
        (["24.0.5-0ubuntu1"], False),
        (["29.1.3"], False),
        (["29.1.3", "20.10.5"], True),
        ([""], True),
    ],
)
def test_which_managers_kill_what_has_gpus(versions: list[str], kills: bool) -> None:
    assert kills_what_has_gpus(engine(*versions)) is kills


def service(*networks: str, generic: bool = True) -> desired.Service:
    kinds = (gpus.kind(GPU.uuid),) if generic else ()
    return desired.Service("s", "image", {gpus.HELD: gpus.label([GPU])}, networks=networks, generic=kinds)


def reserved(made: dict[str, Any]) -> object:
    return made["TaskTemplate"]["Resources"]["Reservations"].get("GenericResources")


def test_a_container_is_told_its_gpus_in_either_way() -> None:
    new, old = (service_json(engine(version), service("net")) for version in ("29.1.3", "20.10.24"))
    assert reserved(new) == [{"DiscreteResourceSpec": {"Kind": "OCCAM_GPU_GPU_7F0C", "Value": 1}}]
    assert "Env" not in new["TaskTemplate"]["ContainerSpec"], "the engine says it"
    assert reserved(old) == [{"DiscreteResourceSpec": {"Kind": "OCCAM_HOLD_GPU_7F0C", "Value": 2}}], "of three"
    assert old["TaskTemplate"]["ContainerSpec"]["Env"] == ["DOCKER_RESOURCE_OCCAM_GPU_GPU_7F0C=GPU-7f0c"]
    assert gpus.told(old["TaskTemplate"]["ContainerSpec"]["Env"]) == {"OCCAM_GPU_GPU_7F0C": "GPU-7f0c"}
    assert new["Labels"] == old["Labels"], "it is the same service"
    without = service_json(engine("20.10.24"), service("net", generic=False))
    assert "Env" not in without["TaskTemplate"]["ContainerSpec"], "held for later, and not by this container"
    probe = service_json(engine("20.10.24"), service())
    assert [one["DiscreteResourceSpec"]["Kind"] for one in reserved(probe)] == [
        "OCCAM_HOLD_GPU_7F0C",
        "OCCAM_GPU_GPU_7F0C",
    ], "without a network nothing changes the node"
