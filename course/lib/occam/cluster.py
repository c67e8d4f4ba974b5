"""A Spark cluster as the gateway describes it, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from occam import show
from occam.errors import Refused
from occam.gateway import Gateway, piece
from occam.wish import bounds, count


@dataclass(frozen=True)
class Executor:
    """One worker: a container that runs a Spark executor; `gpus` are the models of its GPUs."""

    id: str
    host: str
    state: str
    message: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notice:
    """Something that its owner should know of; later ones have higher numbers."""

    number: int
    text: str


@dataclass(frozen=True)
class Cluster:
    """`workers` were asked for; `executors` are the containers there are; `memory` is bytes of each.

    adaptive  smallest and largest number of workers, between which Spark itself chooses; None: a fixed number
    ui        path of the Spark UI in its owner's browser; "" when it is not known
    """

    name: str
    state: str
    workers: int
    cores: int
    memory: int
    executors: tuple[Executor, ...] = ()
    registered: int | None = None
    message: str = ""
    adaptive: tuple[int, int] | None = None
    notices: tuple[Notice, ...] = ()
    ui: str = ""
    gateway: Gateway | None = field(default=None, repr=False, compare=False)

    @property
    def running(self) -> int:
        return sum(executor.state == "running" for executor in self.executors)

    @property
    def hosts(self) -> list[str]:
        """The hosts that its workers run on, each once."""
        return sorted({executor.host for executor in self.executors if executor.host and executor.state == "running"})

    def status(self) -> Cluster:
        """The same cluster as it is now."""
        return from_answer(self._ask("GET"), self.gateway)

    def scale(self, workers: int) -> Cluster:
        """Give it `workers` workers; in its own notebook this waits until they are there. Raises NotEnough, Refused."""
        workers = count("workers", workers)
        held = self._held()
        if held is not None:
            from occam import session

            return session.scale(held, workers).cluster
        if self.adaptive:
            raise Refused(*show.is_adaptive(self.name, self.adaptive))
        return from_answer(self._ask("PUT", "/workers", {"workers": workers}), self.gateway)

    def adapt(self, least: int, most: int) -> Cluster:
        """Let Spark choose between `least` and `most` workers, by what its jobs need. Raises NotEnough, Refused."""
        wanted = bounds((least, most))
        held = self._held()
        if held is None:
            raise Refused(f"the cluster {self.name!r} is not of this kernel", "adapt it in its own notebook")
        from occam import session

        return session.adapt(held, wanted).cluster

    def stop(self) -> None:
        """End it and give its workers back."""
        from occam import session

        session.stop(self.name)

    def logs(self, worker: int | str = "", tail: int = 200) -> show.Log:
        """The last `tail` lines that its workers logged, or one of them."""
        said = self._ask("GET", f"/logs?worker={piece(worker)}&tail={count('tail', tail)}", seconds=30)
        return show.Log(said.get("text", ""))

    def _held(self) -> Any:
        from occam import held

        return held.of(self.name)

    def _ask(self, method: str, what: str = "", body: dict[str, Any] | None = None, seconds: float = 90) -> Any:
        if self.gateway is None:
            raise Refused(f"nothing more is known of the cluster {self.name!r}", "occam.clusters() shows yours")
        return self.gateway.ask(method, f"clusters/{self.name}{what}", body, timeout=seconds)

    def __repr__(self) -> str:
        return show.cluster_text(self)

    def _repr_html_(self) -> str:
        return show.cluster_html(self)


class Clusters(list[Cluster]):
    """Several clusters, which a notebook shows one below the other."""

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self) or "<div>no clusters</div>"


def from_answer(said: dict[str, Any], gateway: Gateway | None = None) -> Cluster:
    """The gateway's JSON as a Cluster; what it does not say is left empty."""
    executors = tuple(
        Executor(
            str(one.get("id", "")),
            str(one.get("node") or ""),
            str(one.get("state", "")),
            str(one.get("message") or ""),
            tuple(map(str, one.get("gpus") or ())),
        )
        for one in said.get("executors") or ()
    )
    adaptive = said.get("adaptive")
    return Cluster(
        name=str(said.get("name", "")),
        state=str(said.get("state", "")),
        workers=int(said.get("wanted") or 0),
        cores=int(said.get("cores") or 1),
        memory=int(said.get("memory") or 0),
        executors=executors,
        registered=said.get("registered"),
        message=str(said.get("message") or ""),
        adaptive=(int(adaptive[0]), int(adaptive[1])) if adaptive else None,
        notices=tuple(Notice(int(one["number"]), str(one["text"])) for one in said.get("notices") or ()),
        ui=f"{gateway.page(said['ui_port'])}/jobs/" if gateway and said.get("ui_port") else "",
        gateway=gateway,
    )
