"""What is free on nodes, and which node a new home goes to: from nodes, services and tasks as the engine shows them."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from occamctl.engine.swarm import Node, Task
from occamctl.errors import DoesNotFit, EngineError, HostError
from occamctl.gateway import sight
from occamctl.gateway.last_words import one_line
from occamctl.gateway.ledger import Ledger, Worker
from occamctl.gateway.notebooks import Notebooks, least_loaded
from occamctl.gateway.quotas import Quotas
from occamctl.gateway.sight import Seen
from occamctl.spec.names import Names

GIB = 1 << 30


def node(name: str, cpus: float = 4, memory: int = 8 * GIB, state: str = "ready", availability: str = "active") -> Node:
    return Node(name, f"host-{name}", "10.0.0.1", "worker", state, availability, cpus, memory, {})


def task(where: str, state: str = "running", cpus: float = 1, memory: int = 2 * GIB) -> Task:
    return Task("t", "s", where, state, "running", "", "c", None, "", "", cpus, memory, {})


def notebook(owner: str, where: str) -> dict[str, Any]:
    labels = {"occam.kind": "notebook", "occam.owner": owner, "occam.home": "h", "occam.home.node": where}
    return {"Spec": {"Name": f"{owner}-notebook", "Labels": labels}}


def seen(nodes: list[Node], tasks: dict[str, list[Task]], services: list[dict[str, Any]] | None = None) -> Seen:
    return Seen(
        0.0,
        {one.id: one for one in nodes},
        {one["Spec"]["Name"]: one for one in services or []},
        {name: tuple(these) for name, these in tasks.items()},
    )


def test_room_is_what_live_tasks_of_anybody_leave() -> None:
    look = seen(
        [node("a"), node("b", state="down"), node("c", availability="drain")],
        {"ours": [task("a"), task("a", "complete")], "id:others": [task("a", "starting")], "mine": [task("a")]},
    )
    (room,) = look.rooms(but=frozenset({"mine"}))
    assert (room.node, room.cpus, room.memory) == ("a", 2, 4 * GIB)


def test_only_nodes_with_walls_take_students_containers() -> None:
    keeper = {"Spec": {"Name": "ml-walls", "Labels": {"occam.kind": "walls"}}}
    nodes, tasks = [node("a"), node("b"), node("c")], {"ml-walls": [task("a"), task("b", "starting")]}
    assert [one.id for one in seen(nodes, tasks, [keeper]).open_nodes()] == ["a"]
    assert [room.node for room in seen(nodes, tasks, [keeper]).rooms()] == ["a"]
    assert least_loaded(seen(nodes, tasks, [keeper]), {}, GIB) == "a"
    assert [one.id for one in seen(nodes, tasks).open_nodes()] == ["a", "b", "c"], "the twin: nobody keeps walls"


def test_a_node_that_is_gone_counts_as_down() -> None:
    look = seen([node("a"), node("b", state="down"), node("c", state="unknown")], {})
    assert [look.down(one) for one in ("a", "b", "never")] == [False, True, True]
    assert not look.down("c"), "a new leader has not heard it yet"
    assert [one.id for one in look.open_nodes()] == ["a"]


@pytest.mark.parametrize(
    ("homes", "pins", "chosen"),
    [
        ([], {}, "a"),
        ([notebook("x", "a")], {}, "b"),
        ([notebook("x", "a")], {"y": "b"}, "a"),  # y was placed a moment ago
        ([notebook("x", "a")], {"x": "a"}, "b"),  # the same home is not counted twice
        ([notebook("x", "a"), notebook("y", "b"), notebook("z", "a")], {}, "b"),
    ],
)
def test_a_new_home_goes_to_the_node_with_least_to_do(
    homes: list[dict[str, Any]], pins: dict[str, str], chosen: str
) -> None:
    assert least_loaded(seen([node("a"), node("b")], {}, homes), pins, 2 * GIB) == chosen


def test_a_class_is_spread_by_memory() -> None:
    pins: dict[str, str] = {}
    look = seen([node("a", memory=8 * GIB), node("b", memory=24 * GIB)], {})
    for number in range(40):
        pins[str(number)] = least_loaded(look, pins, 2 * GIB)
    assert (list(pins.values()).count("a"), list(pins.values()).count("b")) == (10, 30)


def test_no_node_no_home() -> None:
    with pytest.raises(DoesNotFit, match="no host is ready"):
        least_loaded(seen([node("a", state="down")], {}), {}, GIB)


def test_a_containers_words_stay_one_line_of_our_log() -> None:
    assert one_line("failed\n  2026 INFO all is well\x1b[2J") == "failed |   2026 INFO all is well\\x1b[2J"


def test_a_notebook_on_a_host_that_is_down_holds_nothing() -> None:
    nothing: Any = None
    settings: Any = SimpleNamespace(notebook_cpus=2, notebook_memory=2 * GIB, names=Names("ml"))
    ledger = Ledger("ml", Worker(1, GIB), Quotas.of({"student": {}, "instructor": {}, "groups": {}, "users": {}}))
    notebooks = Notebooks(nothing, settings, nothing, nothing, ledger)
    name, mine = Names("ml").notebook("x"), notebook("x", "a")
    mine["Spec"] |= {"Name": name, "Mode": {"Replicated": {"Replicas": 1}}}
    for state, held in (("ready", ["x"]), ("unknown", ["x"]), ("down", []), ("ready", ["x"])):
        there = seen([node("a", state=state)], {name: [task("a")]}, [mine])
        notebooks.count(replace(there, began=time.monotonic() + 1))
        assert ledger.notebooks == held, state


def test_a_dropped_connection_is_read_over_and_an_engine_that_is_gone_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Exception | list[Any]] = [HostError("dropped"), []]

    def tasks(_: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(sight, "_AGAIN", 0)
    for name, told in (("tasks", tasks), ("services", lambda *_: []), ("nodes", lambda _: [node("a")])):
        monkeypatch.setattr(sight.swarm, name, told)
    assert list(sight.Sight(SimpleNamespace(), "ml").look().nodes) == ["a"]  # type: ignore[arg-type]
    answers += [EngineError("refused"), EngineError("refused again")]
    with pytest.raises(EngineError, match="refused again"):
        sight.Sight(SimpleNamespace(), "ml").look()  # type: ignore[arg-type]
