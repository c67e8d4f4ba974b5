"""What is read from an engine's lists."""

from __future__ import annotations

from typing import Any

from occamctl.actions.observe import _services
from occamctl.engine.swarm import Task
from occamctl.spec import names

NEW, OLD = "ml-gateway-settings-new", "ml-gateway-settings-old"


def service() -> dict[str, Any]:
    """A service that has just been given other settings."""
    spec = {
        "Name": "ml-gateway",
        "Labels": {names.SPEC: "hash"},
        "Mode": {"Replicated": {"Replicas": 1}},
        "TaskTemplate": {"ContainerSpec": {"Configs": [{"ConfigName": NEW}]}},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": [{"TargetPort": 8000, "PublishedPort": 80}]},
    }
    return {"ID": "s1", "Spec": spec}


def task(number: str, config: str) -> Task:
    return Task(
        id=number, service_id="s1", node_id="n1", state="running", wanted="running", message="started", exit_code=None,
        container_id=number, created="", timestamp="", cpus_reserved=0, memory_reserved=0, addresses={},
        configs=(config,),
    )  # fmt: skip


def test_a_task_with_the_settings_of_before_does_not_count_as_running() -> None:
    """The swarm ends it in a moment: whoever asked it now would lose the answer."""
    seen = _services([service()], [task("t1", OLD)])["ml-gateway"]
    assert (seen.running, seen.nodes, seen.configs) == (0, frozenset(), (NEW,))
    seen = _services([service()], [task("t2", NEW), task("t1", OLD)])["ml-gateway"]
    assert (seen.running, seen.nodes, seen.trouble) == (1, frozenset({"n1"}), "")


def test_the_ports_that_a_service_has() -> None:
    assert _services([service()], [])["ml-gateway"].ports == {80}
    bare = service()
    bare["Spec"]["EndpointSpec"] = {"Mode": "dnsrr"}  # as the engine gives it back where none is published
    assert _services([bare], [])["ml-gateway"].ports == set()
