"""What the engine's refusals become."""

from __future__ import annotations

import pytest
from docker.errors import APIError

from occamctl.engine.client import speaking_to
from occamctl.errors import EngineError

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
