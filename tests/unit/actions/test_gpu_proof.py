"""Which GPUs of a host are proven after a probe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from occamctl.actions import gpu_proof
from occamctl.engine import nodes, swarm
from occamctl.plan import gpus

NOW = "GPU-a|GPU-b|570|1.19.1"


@pytest.mark.parametrize(
    ("before", "held", "after"),
    [
        ("", set(), NOW),
        ("", {"GPU-b"}, "GPU-a|570|1.19.1"),
        ("GPU-b|570|1.19.1", {"GPU-b"}, NOW),
        ("GPU-b|560|1.19.1", {"GPU-b"}, "GPU-a|570|1.19.1"),
    ],
)
def test_one_that_is_held_is_proven_only_if_it_was(
    monkeypatch: pytest.MonkeyPatch, before: str, held: set[str], after: str
) -> None:
    node = SimpleNamespace(id="n", labels={gpus.PROVEN: before})
    told: dict[str, str | None] = {}
    monkeypatch.setattr(gpu_proof, "held", lambda manager, node: held)
    monkeypatch.setattr(gpu_proof, "_probe", lambda *_: "")
    monkeypatch.setattr(swarm, "nodes", lambda manager: [node])
    monkeypatch.setattr(nodes, "label", lambda manager, node, labels: told.update(labels))
    assert gpu_proof.prove(cast(Any, None), "ml", "n", "image", ["GPU-a", "GPU-b"], NOW, {}) == ""
    assert told == {gpus.OUT: None, gpus.PROVEN: after}
