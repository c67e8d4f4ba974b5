"""What the engine's refusals become."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, DockerException

from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError, HostError

NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
"""Of engine 20.10.24."""


def test_an_engine_without_a_swarm_has_no_course() -> None:
    with pytest.raises(EngineError) as said, speaking_to("node1"):
        raise APIError("503 Server Error", explanation=NO_SWARM)
    assert str(said.value) == "node1: its engine manages no swarm: no course is up there (run: occamctl course up)"


def test_any_other_refusal_is_quoted() -> None:
    with pytest.raises(EngineError, match="node1: the engine refused: no space left on device"), speaking_to("node1"):
        raise APIError("500 Server Error", explanation="no space left on device")


def test_what_we_said_on_the_way_to_the_engine_is_said() -> None:
    """The SDK wraps whatever is raised while it connects."""
    wrapped = DockerException("Error while fetching server API version: ...")
    wrapped.__context__ = wrong = HostError("the sudo password is wrong", where="node1", fix="see ssh.sudo_password")
    with pytest.raises(HostError) as said, speaking_to("node1"):
        raise wrapped
    assert said.value is wrong


@pytest.mark.parametrize(("speaks", "old"), [("1.40", True), ("1.9", True), ("1.41", False), ("1.47", False)])
def test_an_engine_before_20_10_is_refused_with_the_way_out(speaks: str, old: bool) -> None:
    client: Any = SimpleNamespace(api=SimpleNamespace(api_version=speaks))
    if not old:
        assert Engine("node1", client).name == "node1"
        return
    with pytest.raises(HostError) as said:
        Engine("node1", client)
    assert str(said.value) == "node1: its container engine is too old (install Docker 20.10 or newer there)"
    assert said.value.exit_code == 3
