"""What becomes of GPUs on a host that is down."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from occamctl.gateway.cluster import Cluster
from occamctl.gateway.gpus import Gpus
from occamctl.gateway.ledger import Ledger, Worker
from occamctl.gateway.quotas import Limits, Quota, Quotas, Rights
from occamctl.gateway.sight import Seen
from occamctl.plan import gpus
from occamctl.plan.fit import Room
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu

from .test_ledger import facts
from .test_services import SETTINGS
from .test_sight import node

A100 = Gpu("GPU-a", "NVIDIA A100-SXM4-40GB", 40 << 30)
ROOM = Room("1", "one", 16, 64 << 30, gpus=(A100,), lent=(A100,))


def world(state: str, *lent: Gpu) -> tuple[Gpus, Ledger]:
    """Anna's notebook runs with a GPU of a node in this state, which lends these."""
    free = Quota(Limits(workers=9))
    ledger = Ledger("ml", Worker(1, 2 << 30), Quotas(free, free))
    ledger.gpus.assign("anna", GpuWish(), None, Rights(Limits()), lambda but: [ROOM])
    ledger.gpus.use("anna", 0)
    lends = {gpus.LENT: gpus.label(lent), gpus.PROVEN: "GPU-a|570|1.19.1"}
    there = replace(node("1"), state=state, labels=lends, generic=gpus.resources("GPU-a"))
    seen = Seen(0, {"1": there}, {}, {})
    sight = SimpleNamespace(look=lambda age: seen, last=seen)
    notebooks = SimpleNamespace(alone=lambda user: nullcontext(), home=lambda user, there: None)
    made = Gpus(cast(Any, None), SETTINGS, ledger, sight=cast(Any, sight), notebooks=cast(Any, notebooks))
    return made, ledger


@pytest.mark.parametrize(("state", "left"), [("ready", 1), ("down", 0)])
def test_a_release_waits_for_the_notebooks_end_where_that_can_be_seen(state: str, left: int) -> None:
    made, ledger = world(state, A100)
    made.release("anna")
    assert len(ledger.gpus.grants) == left
    assert ledger.held("anna").gpus == left


def test_those_out_of_service_are_shown_with_the_reason() -> None:
    made, _ = world("down", A100)
    (shown,) = made.listed(named=False)
    assert (shown["state"], shown["trouble"]) == ("out", "its host is down")
    assert made._sight.last.out() == [("host-1", A100, "its host is down")]


def test_one_that_is_held_and_no_longer_lent_is_shown_with_its_holder() -> None:
    made, _ = world("ready")
    (shown,) = made.listed(named=True)
    assert (shown["uuid"], shown["host"], shown["state"]) == ("GPU-a", "host-1", "out")
    assert shown["trouble"] == "its host lends it no more"
    assert shown["holder"] == {"kind": "notebook", "who": "students", "user": "anna", "cluster": ""}


@pytest.mark.parametrize("runs", [True, False])
def test_who_has_a_gpu_in_the_notebook_hears_of_it_there_and_not_twice(runs: bool) -> None:
    made, ledger = world("ready", A100)
    if not runs:
        ledger.gpus.put_back("anna", None)
    cluster = Cluster(facts(), None, state="running")
    ledger.enter(cluster)
    made.tell("anna", "it goes")
    assert [one.text for one in ledger.gpus.notices("anna")] == ["it goes"]
    assert [one.text for one in cluster.notices] == ([] if runs else ["it goes"])
