"""What can be asked of Spark clusters: create, scale, give back, renew, delete. Blocking; called from threads."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from occamctl.engine import ground, swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError, Refused, TookTooLong
from occamctl.gateway.last_words import one_line
from occamctl.gateway.leases import Lease
from occamctl.gateway.ledger import Cluster, Executor, Ledger
from occamctl.gateway.notebooks import Notebooks
from occamctl.gateway.refusals import NotKnown
from occamctl.gateway.settings import Settings
from occamctl.gateway.sight import Sight
from occamctl.gateway.subnets import Networks
from occamctl.gateway.wishes import Wish
from occamctl.plan.fit import Room
from occamctl.spark import clusters as spark
from occamctl.spark.settings import CONNECT_PORT, DRIVER_PORT
from occamctl.spec import names

log = logging.getLogger("occam.gateway.clusters")
FRESH = 1.0
"""Seconds: how old a look at the engine may be that workers are placed by."""
SHOWN = 300
"""Seconds that a lost executor is listed, so that the driver and people learn of it."""
REMOVAL = 90
"""Seconds until a removal gives up; the loop goes on with it."""


class Clusters:
    """The clusters of one course, on one engine."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        ledger: Ledger,
        *,
        sight: Sight,
        networks: Networks,
        notebooks: Notebooks,
    ) -> None:
        self._engine, self._settings, self.ledger = engine, settings, ledger
        self._sight, self._networks, self._notebooks = sight, networks, notebooks
        self._site = settings.site
        self._token = settings.token()

    def create(self, owner: str, wish: Wish, limit: int) -> dict[str, Any]:
        """A cluster as wished, whole or not at all; the answer holds its secret, which is nowhere else to be had.

        limit  workers that the owner may hold

        Raises DoesNotFit, Refused, EngineError.
        """
        self._replace_own(owner, wish)
        settings = self._settings
        facts = spark.Facts(
            owner=owner,
            name=wish.name,
            app_id=f"app-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(4)}",
            nonce=secrets.token_hex(2),
            driver=wish.driver,
            driver_host=wish.driver_host,
            driver_port=wish.driver_port or DRIVER_PORT,
            cores=wish.cores or settings.worker_cpus,
            memory=wish.memory or settings.worker_memory,
            wanted=wish.workers,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            kernel=wish.kernel,
            declared=wish.declared,
            notebook=self._notebook(owner) if wish.driver == "notebook" else "",
        )
        rooms = self._rooms()
        cluster = self.ledger.admit(facts, limit, rooms, self._lease(facts))
        value = secrets.token_urlsafe(32)
        with cluster.lock:
            try:
                self._make(cluster, value)
            except OccamError:
                self._undo(cluster)
                raise
        log.info("cluster %s of %s: made, %d workers on %s", facts.name, owner, facts.wanted, self._hosts(cluster))
        conf = spark.driver_conf(self._site, cluster.facts, int(settings.notebook_memory))
        return self.view(cluster) | {"secret": value, "conf": conf}

    def _replace_own(self, owner: str, wish: Wish) -> None:
        """A kernel that was restarted keeps its id: what it had before is nobody's any more."""
        with suppress(NotKnown):
            there = self.ledger.get(owner, wish.name)
            if wish.kernel and there.facts.kernel == wish.kernel and there.state != "failed":
                log.info("cluster %s of %s: its kernel was restarted", wish.name, owner)
                self.delete(owner, wish.name)

    def _notebook(self, owner: str) -> str:
        task = self._notebooks.task_of(owner, self._sight.look(FRESH))
        if not task:
            raise Refused(
                "its notebook does not run", where=owner, fix="a cluster of its own kind needs driver: connect"
            )
        return task

    def _lease(self, facts: spark.Facts) -> Lease | None:
        if facts.driver == "connect":
            return None
        return Lease.new(time.monotonic(), self._settings.lease, self._settings.idle_timeout)

    def _rooms(self, max_age: float = FRESH) -> Any:
        seen = self._sight.look(max_age)

        def rooms(but: frozenset[str]) -> list[Room]:
            return seen.rooms(but=but)

        return rooms

    def _make(self, cluster: Cluster, value: str) -> None:
        facts = cluster.facts
        subnet = self._networks.ensure(facts.owner)
        # First what remembers the cluster: whatever is made after it is never nobody's.
        ground.ensure_secret(self._engine, spark.secret(self._site, facts, value))
        if facts.driver == "connect":
            for one in spark.driver_secrets(self._site, facts, value, self.token_of(facts)):
                ground.ensure_secret(self._engine, one)
            swarm.ensure_service(self._engine, spark.driver(self._site, facts, cluster.driver_node, subnet))
        self._start(cluster, cluster.executors.values(), subnet)

    def _start(self, cluster: Cluster, executors: Iterable[Executor], subnet: str) -> None:
        for one in list(executors):
            swarm.ensure_service(self._engine, spark.executor(self._site, cluster.facts, one.number, one.node, subnet))
            one.made = time.monotonic()

    def _undo(self, cluster: Cluster) -> None:
        """Take back what was made; what cannot be now is finished by the loop."""
        cluster.state, cluster.facts = "stopping", spark.ended(cluster.facts)
        try:
            spark.remove(self._engine, self._site, cluster.facts)
        except OccamError as error:
            log.warning("cluster %s of %s: not yet undone: %s", *cluster.key[::-1], error)
        else:
            self.ledger.remove(cluster)

    def scale(self, owner: str, name: str, workers: int, limit: int) -> dict[str, Any]:
        """Give the cluster `workers` executors. Raises NotKnown, DoesNotFit, EngineError."""
        cluster = self._living(owner, name)
        rooms = self._rooms()
        with cluster.lock:
            self._living(owner, name)
            before = cluster.facts.wanted
            new, gone = self.ledger.resize(cluster, workers, limit, rooms)
            if new or gone or workers != before:
                self.settle(cluster, new, gone)
                log.info("cluster %s of %s: %d workers, were %d", name, owner, workers, before)
        return self.view(cluster)

    def settle(self, cluster: Cluster, new: Iterable[Executor], gone: Iterable[Executor]) -> None:
        """Bring the engine to what the ledger already says. Numbers are written down before they are used."""
        spark.write(self._engine, self._site, cluster.facts)
        for one in gone:
            self.remove_executor(cluster, one)
        new = list(new)
        if new:
            cluster.state = "starting" if not cluster.whole else cluster.state
            try:
                self._start(cluster, new, self._networks.ensure(cluster.facts.owner))
            except OccamError:
                # Not made: the loop makes them, with new numbers.
                self.ledger.take_out(cluster, [one.number for one in new if one.made is None])
                raise

    def remove_executor(self, cluster: Cluster, executor: Executor) -> None:
        """Its container is told to decommission and has its grace to do so."""
        facts = cluster.facts
        swarm.remove_service(self._engine, self._site.names.executor(facts.owner, facts.name, executor.number))

    def kill(self, owner: str, name: str, numbers: Iterable[int]) -> dict[str, Any]:
        """Spark gives these executors up; how many are wanted stays, so others may come in their place."""
        cluster = self._living(owner, name)
        with cluster.lock:
            for one in self.ledger.take_out(cluster, numbers):
                self.remove_executor(cluster, one)
        return self.view(cluster)

    def renew(self, owner: str, name: str, *, registered: int, jobs: bool) -> dict[str, Any]:
        """A heartbeat; touches no engine."""
        cluster = self.ledger.get(owner, name)
        cluster.hear(time.monotonic(), registered=registered, jobs=jobs)
        return self.view(cluster)

    def delete(self, owner: str, name: str) -> None:
        """Remove it and wait until nothing of it is left. Raises NotKnown, EngineError, TookTooLong."""
        self.end(self.ledger.get(owner, name))

    def end(self, cluster: Cluster) -> None:
        """Remove everything of a cluster; only then its workers can be used again. Calling it twice is fine."""
        with cluster.lock:
            if cluster.state == "failed" or cluster not in list(self.ledger):
                self.ledger.remove(cluster)
                return
            cluster.state = "stopping"
            self._clear(cluster)
            self.ledger.remove(cluster)
        if cluster.facts.owner == names.COURSE_OWNER and not self.ledger.of(names.COURSE_OWNER):
            with suppress(TookTooLong):
                self._networks.remove(names.COURSE_OWNER)
        log.info("cluster %s of %s: gone", cluster.facts.name, cluster.facts.owner)

    def fail(self, cluster: Cluster, why: str) -> None:
        """Remove everything, and keep the reason for those who ask."""
        log.warning("cluster %s of %s: failed: %s", cluster.facts.name, cluster.facts.owner, one_line(why))
        with cluster.lock:
            cluster.message, cluster.state = why, "stopping"
            self._clear(cluster)
            ended = self.ledger.take_out(cluster, list(cluster.executors))
            cluster.lost += [
                replace(one, state="lost", message=one.message or "removed with its cluster") for one in ended
            ]
            cluster.driver_node = ""
            cluster.state, cluster.failed_at = "failed", time.monotonic()

    def _clear(self, cluster: Cluster) -> None:
        cluster.facts = replace(cluster.facts, ending=True)
        with suppress(OccamError):  # the secret may be gone already; then there is nothing to remember
            spark.write(self._engine, self._site, cluster.facts)
        spark.remove(self._engine, self._site, cluster.facts, seconds=REMOVAL)

    def free(self, cores: int = 0, memory: int = 0) -> int:
        """How many more workers would find room on the hosts now."""
        settings = self._settings
        return self.ledger.free(cores or settings.worker_cpus, memory or settings.worker_memory, self._rooms())

    def token_of(self, facts: spark.Facts) -> str:
        """What a Connect driver shows to the gateway; good for its own cluster only, and derived: nobody keeps it."""
        text = f"{facts.owner}\0{facts.name}\0{facts.app_id}"
        return hmac.new(self._token.encode(), text.encode(), hashlib.sha256).hexdigest()

    def is_driver(self, owner: str, name: str, token: str) -> bool:
        """Whether `token` is that of the cluster's own Connect driver."""
        try:
            facts = self.ledger.get(owner, name).facts
        except NotKnown:
            return False
        return facts.driver == "connect" and hmac.compare_digest(self.token_of(facts).encode(), token.encode())

    def _living(self, owner: str, name: str) -> Cluster:
        cluster = self.ledger.get(owner, name)
        if cluster.state in ("failed", "stopping"):
            raise NotKnown(f"the cluster {name!r} is {cluster.state} {cluster.message}".rstrip(), where=owner)
        return cluster

    def _hosts(self, cluster: Cluster) -> str:
        seen = self._sight.last
        return ", ".join(seen.hostname(one.node) for one in cluster.executors.values()) or "no host"

    def view(self, cluster: Cluster) -> dict[str, Any]:
        """The cluster as the API shows it; touches no engine."""
        facts, lease = cluster.facts, cluster.lease
        seen = self._sight.last
        now = time.monotonic()
        lost = [one for one in cluster.lost if cluster.state == "failed" or now - (one.lost_at or now) < SHOWN]
        executors = [*lost[-8:], *sorted(cluster.executors.values(), key=lambda one: one.number)]
        service = self._site.names.driver(facts.owner, facts.name) if facts.driver == "connect" else ""
        return {
            "name": facts.name,
            "owner": facts.owner,
            "app_id": facts.app_id,
            "driver": facts.driver,
            "state": cluster.state,
            "wanted": facts.wanted,
            "cores": facts.cores,
            "memory": facts.memory,
            "executors": [
                {"id": str(one.number), "node": seen.hostname(one.node), "state": one.state, "message": one.message}
                for one in executors
            ],
            "registered": cluster.registered,
            "driver_service": service,
            "connect_url": f"sc://tasks.{service}:{CONNECT_PORT}" if service else "",
            "message": cluster.message,
            "since": facts.since,
            "declared": facts.declared,
            "lease_left": None if lease is None else round(lease.left(now), 1),
        }
