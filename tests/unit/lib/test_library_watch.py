"""Waiting for a cluster's workers, with a gateway that answers from memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from occam.cluster import from_answer
from occam.errors import NotReached, NotStarted
from occam.meter import Progress
from occam.watch import Watch

PENDING = {"id": "2", "node": "node2", "state": "pending", "message": "no suitable node (host-mode port in use)"}
SAID = {"name": "lab", "state": "starting", "wanted": 2, "executors": [PENDING]}


class Gateway:
    """What the library asks while it waits; `log` is None while the gateway is away."""

    log: str | None = "1: registered with driver\n2: UnknownHostException: node7"

    def ask(self, method: str, path: str, *_words: Any, **_more: Any) -> dict[str, Any]:
        if method == "GET":
            assert path.startswith("clusters/lab/logs?")
            if self.log is None:
                raise NotReached("the gateway does not answer")
            return {"text": self.log}
        return SAID


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def watch(gateway: Gateway) -> Iterator[Watch]:
    there: Any = gateway
    made = Watch(there, from_answer(SAID), Progress("lab", 2))
    yield made
    made.stop()


@pytest.mark.parametrize("came", [0, 1])
def test_workers_that_do_not_come_in_time_are_told_in_the_schedulers_words(watch: Watch, came: int) -> None:
    watch.driver_ready(lambda: came)
    missing = watch.wait_for(2, 0.2)
    assert missing.splitlines() == [
        f"{came} of 2 workers within 0.2 s",
        "  worker 2: no suitable node (host-mode port in use)",
    ]
    watch.driver_ready(lambda: 2)
    assert watch.wait_for(2, 0.2) == ""


def test_the_workers_last_lines_are_told_too(watch: Watch, gateway: Gateway) -> None:
    assert watch.last_lines() == "\n  1: registered with driver\n  2: UnknownHostException: node7"
    gateway.log = None
    assert watch.last_lines() == ""


def test_a_cluster_that_failed_is_not_waited_for(watch: Watch) -> None:
    watch.cluster = from_answer(SAID | {"state": "failed", "message": "worker 1 on node2: exit 1"})
    with pytest.raises(NotStarted, match="worker 1 on node2: exit 1"):
        watch.wait_for(2, 60)
