"""GPUs through the gateway, on a real swarm of two hosts whose engines know two simulated GPUs each."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from occamctl import wait
from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.plan import gpus as plan

from . import gateway_stage
from .gateway_stage import ANNA, BOB, PEOPLE, PROF, Stage

pytestmark = pytest.mark.engine

SANDBOX = "gwgpus"
MAIN = "/users/course/clusters"
OPERATIONS, MANY = 40, 200


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with gateway_stage.stage(tmp_path_factory.mktemp("gpus"), SANDBOX, gpus=2) as made:
        yield made


def path(token: str, piece: str) -> str:
    return f"/users/{quote(PEOPLE[token][0], safe='')}/{piece}"


def start(on: Stage, token: str) -> dict[str, Any]:
    """Start somebody's notebook; an environment of its own makes every start a new one."""
    environment = {"JUPYTERHUB_USER": PEOPLE[token][0], "NONCE": str(time.monotonic())}
    assert on.ask("PUT", path(token, "notebook"), {"environment": environment}).status_code == 200
    return on.until(path(token, "notebook"), lambda seen: seen["state"] != "starting", "the notebook")


def assigned(on: Stage, piece: str = "") -> list[str]:
    """GPUs that the swarm has assigned to live tasks (of one service)."""
    tasks = swarm.tasks(on.engine, service_name=piece) if piece else swarm.tasks(on.engine)
    live = [task for task in tasks if task.state in swarm.RUNNING_STATES]
    return sorted(uuid for task in live for uuid in plan.uuids(task.generic))


def free(on: Stage) -> int:
    return sum(one["state"] == "free" for one in on.ask("GET", "/gpus").json())


def until_free(on: Stage, many: int = 4) -> None:
    wait.until(lambda: (free(on), len(assigned(on))), lambda seen: seen == (many, 4 - many), "free GPUs", seconds=60)


def test_a_notebook_has_the_gpu_that_the_ledger_chose_for_it(on: Stage) -> None:
    given = on.ask("PUT", path(ANNA, "gpu"), {"gpu": "A100", "for": 3600}, ANNA).json()
    (gpu,) = given["gpus"]
    assert given["message"] == "there when the notebook starts"
    assert start(on, ANNA)["state"] == "running"
    assert assigned(on, gateway_stage.NAMES.notebook(PEOPLE[ANNA][0])) == [gpu["uuid"]]
    (row,) = [one for one in on.ask("GET", "/gpus").json() if one["state"] == "held"]
    assert (row["uuid"], row["holder"]["owner"], row["until"]) == (gpu["uuid"], PEOPLE[ANNA][0], given["until"])
    (seen,) = [one for one in on.ask("GET", "/gpus", token=BOB).json() if one["state"] == "held"]
    assert PEOPLE[ANNA][0] not in str(seen), "who holds it is told by the group only"
    assert on.ask("DELETE", path(ANNA, "gpu"), token=BOB).status_code == 403
    on.ask("DELETE", path(ANNA, "notebook"))
    assert on.ask("GET", path(ANNA, "gpu"), token=ANNA).json()["gpus"], "held until its time is over"
    on.ask("DELETE", path(ANNA, "gpu"), token=ANNA)
    until_free(on)


def test_more_than_there_are_and_what_nobody_has(on: Stage) -> None:
    asked = {"name": "big", "workers": 5, "driver": "connect", "gpu": 1}
    refused = on.ask("POST", MAIN, asked)
    assert (refused.status_code, refused.json()["error"]["exit_code"]) == (409, 4)
    assert "the course has only 4 such GPUs" in refused.json()["error"]["what"]
    refused = on.ask("PUT", path(ANNA, "gpu"), {"gpu": "H100"}, ANNA).json()["error"]
    assert refused["what"] == "the course has no H100; it has 4 A100-SXM4-40GB (simulated)"
    refused = on.ask("PUT", path(ANNA, "gpu"), {"gpu": {"count": 3}}, ANNA).json()["error"]
    assert "have to be in one host" in refused["what"]
    assert on.ask("PUT", path(ANNA, "gpu"), {"gpu": {"cuont": 1}}, ANNA).status_code == 400
    assert free(on) == 4


def test_workers_with_gpus_beside_those_without_and_a_gateway_that_restarts(on: Stage) -> None:
    made = on.ask("POST", MAIN, {"name": "main", "workers": 1, "driver": "connect"})
    assert made.status_code == 201, made.text
    scaled = on.ask("PUT", f"{MAIN}/main/workers", {"workers": 3, "gpu": True})
    assert scaled.status_code == 200, scaled.text
    seen = on.until(f"{MAIN}/main", lambda one: _running(one) == 4, "its workers")
    assert sorted(len(one["gpus"]) for one in seen["executors"]) == [0, 1, 1, 1]
    before = assigned(on)
    assert len(set(before)) == 3
    refused = on.ask("PUT", path(BOB, "gpu"), {"gpu": 2}, BOB).json()["error"]
    assert "the course holds 3 A100-SXM4-40GB" in refused["what"]
    on.end()
    on.up()
    wait.until(lambda: free(on), lambda many: many == 1, "what was held is known again", seconds=20)
    assert assigned(on) == before
    assert on.ask("PUT", f"{MAIN}/main/workers", {"workers": 0, "gpu": True}).status_code == 200
    on.until(f"{MAIN}/main", lambda one: _running(one) == 1, "one worker")
    until_free(on)
    on.ask("DELETE", f"{MAIN}/main")


def _running(cluster: dict[str, Any]) -> int:
    return sum(one["state"] == "running" for one in cluster["executors"])


def test_a_reservation_keeps_gpus_free_for_a_group(on: Stage) -> None:
    booked = on.ask("POST", "/gpus/reservations", {"group": "instructor", "gpu": 4, "for": 3600})
    assert booked.status_code in (200, 201), booked.text
    refused = on.ask("PUT", path(ANNA, "gpu"), {"gpu": 1}, ANNA).json()["error"]
    assert "reserved for group instructor until" in refused["what"]
    assert len(on.ask("PUT", path(PROF, "gpu"), {"gpu": 1}, PROF).json()["gpus"]) == 1
    on.ask("DELETE", path(PROF, "gpu"), token=PROF)
    on.ask("DELETE", f"/gpus/reservations/{booked.json()['id']}")
    until_free(on)


# Whatever happens -----------------------------------------------------------------------------------------------------


class Monkey:
    """Does one thing after another, whatever the answer, as long as it is one that the API documents."""

    def __init__(self, on: Stage, seed: int) -> None:
        self.on, self.dice, self.done = on, random.Random(seed), Counter[str]()

    def step(self) -> None:
        name = self.dice.choice(["assign", "release", "notebook", "stop", "create", "scale", "kill", "delete"])
        status = getattr(self, name)()
        self.done[f"{name} {status}"] += 1
        assert status < 500, name

    def someone(self) -> str:
        return self.dice.choice([ANNA, BOB, PROF])

    def cluster(self) -> str:
        return f"{MAIN}/{self.dice.choice(['one', 'two'])}"

    def assign(self) -> int:
        token = self.someone()
        asked = {"gpu": self.dice.choice([1, 2, "A100"]), "for": self.dice.choice([None, 5, 3600])}
        return self.on.ask("PUT", path(token, "gpu"), asked, token).status_code

    def release(self) -> int:
        token = self.someone()
        return self.on.ask("DELETE", path(token, "gpu"), token=token).status_code

    def notebook(self) -> int:
        token = self.someone()
        body = {"environment": {"JUPYTERHUB_USER": PEOPLE[token][0], "NONCE": str(time.monotonic())}}
        return self.on.ask("PUT", path(token, "notebook"), body).status_code

    def stop(self) -> int:
        return self.on.ask("DELETE", path(self.someone(), "notebook")).status_code

    def create(self) -> int:
        name = self.cluster().rpartition("/")[2]
        asked = {"name": name, "workers": self.dice.randint(0, 2), "driver": "connect"}
        return self.on.ask("POST", MAIN, asked | {"gpu": self.dice.choice([None, 1, 1])}).status_code

    def scale(self) -> int:
        asked = {"workers": self.dice.randint(0, 3), "gpu": self.dice.choice([None, 1])}
        return self.on.ask("PUT", f"{self.cluster()}/workers", asked).status_code

    def kill(self) -> int:
        """End a worker's or a notebook's container behind everybody's back."""
        live = [task for task in swarm.tasks(self.on.engine) if task.state == "running" and plan.uuids(task.generic)]
        if live:
            task = self.dice.choice(live)
            number = next(node.hostname for node in swarm.nodes(self.on.engine) if node.id == task.node_id)[-1]
            Engine.local().exec(gateway_stage.host(int(number), SANDBOX), ["docker", "kill", task.container_id])
        return 0

    def delete(self) -> int:
        return self.on.ask("DELETE", self.cluster()).status_code


@contextmanager
def watching(on: Stage) -> Iterator[list[list[str]]]:
    """Each second, which GPUs live tasks have been assigned."""
    enough, seen = threading.Event(), list[list[str]]()

    def look() -> None:
        while not enough.wait(1):
            seen.append(assigned(on))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize(
    "operations", [OPERATIONS, pytest.param(MANY, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_whatever_is_done_no_gpu_has_two_holders_and_none_is_lost(on: Stage, operations: int) -> None:
    monkey = Monkey(on, seed=operations)
    with watching(on) as seen:
        for _ in range(operations):
            monkey.step()
    print(dict(sorted(monkey.done.items())), len(seen), "looks")
    assert len(seen) > operations / 10
    assert max(map(len, seen)) > 0, "no GPU was ever used"
    assert not [one for one in seen if len(one) != len(set(one))], "a GPU had two holders"
    for token in (ANNA, BOB, PROF):
        on.ask("DELETE", path(token, "notebook"))
        on.ask("DELETE", path(token, "gpu"), token=token)
    for name in ("one", "two"):
        on.ask("DELETE", f"{MAIN}/{name}")
    until_free(on)
    assert on.services("executor") == on.services("driver") == []
