"""The session and the context that a student holds: pyspark's own classes, which know their cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark import SparkContext
from pyspark.sql import SparkSession

from occam import cluster as clusters_of
from occam import show
from occam.cluster import Cluster
from occam.errors import OccamError, Refused

if TYPE_CHECKING:
    from occam.held import Held


class Session(SparkSession):
    """A SparkSession that knows its cluster: how it looks, and what has to go when it stops."""

    @property
    def _held(self) -> Held | None:
        """What the kernel holds; None after the stop. Sessions of one context (`newSession`) have it together."""
        return getattr(self._sc, "_held", None)

    def __repr__(self) -> str:
        return self._shown(show.session_text) or "<Spark session, stopped>"

    def _repr_html_(self) -> str:
        return self._shown(show.session_html) or "<div>Spark session, stopped</div>"

    def _shown(self, how: Callable[[Cluster, int, str, str], str]) -> str:
        held = self._held
        if held is None or not held.alive:
            return ""
        try:
            return how(self.cluster, held.registered(), self.version, held.link)
        except OccamError as error:
            return f"Spark session ({error.what})"

    @property
    def cluster(self) -> Cluster:
        """The cluster as the gateway sees it now: workers, hosts, cores, memory. Raises OccamError."""
        held = self._held
        if held is None:
            raise Refused("this session has stopped", "start one with occam.spark()")
        return clusters_of.from_answer({**held.gateway.ask("GET", held.path), "ui_port": held.ui}, held.gateway)

    def createDataFrame(self, *args: Any, **kwargs: Any) -> Any:
        """As pyspark's, which makes its session the active one on the way: with several clusters it must not."""
        from occam import held

        try:
            return super().createDataFrame(*args, **kwargs)
        finally:
            held.as_it_was()

    def stop(self) -> None:
        """Stop Spark and give the workers back. Calling it twice is fine."""
        held = self._held
        if held is None:
            return
        self._sc._held = None
        try:
            if held.alive:
                super().stop()
        finally:
            held.end()


class Context(SparkContext):
    """The session's `sparkContext`, looking as the session does: pyspark's own link leads nowhere from a browser."""

    _session: Session
    _held: Held | None = None

    def __repr__(self) -> str:
        return repr(self._session)

    def _repr_html_(self) -> str:
        return self._session._repr_html_()

    def stop(self) -> None:
        """The same as the session's: a context without its cluster is of no use."""
        if self._held is not None:
            self._session.stop()
        else:
            super().stop()
