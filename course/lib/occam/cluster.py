"""A Spark cluster as the gateway describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from occam import show


@dataclass(frozen=True)
class Executor:
    """One worker: a container that runs a Spark executor."""

    id: str
    host: str
    state: str
    message: str = ""


@dataclass(frozen=True)
class Cluster:
    """`workers` were asked for; `executors` are the containers there are; `memory` is bytes of each."""

    name: str
    state: str
    workers: int
    cores: int
    memory: int
    executors: tuple[Executor, ...] = ()
    registered: int | None = None
    message: str = ""

    @property
    def running(self) -> int:
        return sum(executor.state == "running" for executor in self.executors)

    @property
    def hosts(self) -> list[str]:
        """The hosts that its workers run on, each once."""
        return sorted({executor.host for executor in self.executors if executor.host and executor.state == "running"})

    def __repr__(self) -> str:
        return show.cluster_text(self)

    def _repr_html_(self) -> str:
        return show.cluster_html(self)


def from_answer(said: dict[str, Any]) -> Cluster:
    """The gateway's JSON as a Cluster; what it does not say is left empty."""
    executors = tuple(
        Executor(
            str(one.get("id", "")), str(one.get("node") or ""), str(one.get("state", "")), str(one.get("message") or "")
        )
        for one in said.get("executors") or ()
    )
    return Cluster(
        name=str(said.get("name", "")),
        state=str(said.get("state", "")),
        workers=int(said.get("wanted") or 0),
        cores=int(said.get("cores") or 1),
        memory=int(said.get("memory") or 0),
        executors=executors,
        registered=said.get("registered"),
        message=str(said.get("message") or ""),
    )
