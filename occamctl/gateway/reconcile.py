"""The loop that keeps clusters as they should be: lost executors replaced, ended leases and orphans removed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from dataclasses import replace

from occamctl import wait
from occamctl.engine import ground, swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError
from occamctl.gateway.cluster import Cluster, Executor, ExecutorState
from occamctl.gateway.clusters import Clusters
from occamctl.gateway.last_words import last_words, one_line
from occamctl.gateway.leases import Lease
from occamctl.gateway.notebooks import Notebooks
from occamctl.gateway.settings import Settings
from occamctl.gateway.sight import Seen, Sight
from occamctl.gateway.unstick import Unstick
from occamctl.plan import gpus
from occamctl.spark import clusters as spark
from occamctl.spec import names

log = logging.getLogger("occam.gateway.loop")
BUSY, CALM = 0.7, 3.0
"""Seconds between two rounds while something starts or ends, and while nothing does."""
START = {"pending": 60, "starting": 120}
"""Seconds that an executor may be in each state."""
MOST_TRIES = 3
REGISTER = 180
"""Seconds from the first moment that a Connect cluster's containers all run until its driver counts all of them."""
STEADY = 60
"""An executor that ran for so many seconds did not fail to start: its loss counts as a first one."""
DRIVER_DEATHS = 3
REMEMBERED = 600
"""Seconds that a failed cluster can be asked for its reason, and an application for its end."""
READ_TO_THE_END = 10
"""Seconds that an application's driver stays after its end for those who follow its log."""
ORPHAN = 15
"""Seconds that a service may be without a cluster before it counts as an orphan."""


FORGOTTEN_EVERY = 5
"""Seconds between two looks at the secrets of clusters."""


class Loop:
    """Compares ledger and engine every few seconds. `tick` is one round."""

    def __init__(
        self, engine: Engine, settings: Settings, sight: Sight, clusters: Clusters, notebooks: Notebooks, pool: Pool
    ) -> None:
        self._engine, self._settings, self._sight = engine, settings, sight
        self._clusters, self._ledger, self._notebooks = clusters, clusters.ledger, notebooks
        self._pool = pool
        self._orphans: dict[str, float] = {}
        self._unstick = Unstick(engine)
        self._forgotten: dict[str, float] = {}
        self._looked_for_forgotten = 0.0

    def remember(self) -> None:
        """Fill the ledger from the engine's labels; every lease gets one full grace period. Raises EngineError."""
        seen = self._sight.look(0)
        self._notebooks.count(seen)
        for facts in spark.read(self._engine, self._settings.course):
            self._ledger.enter(_found(facts, seen, self._settings))
            log.info("cluster %s of %s: found, %d workers wanted", facts.name, facts.owner, facts.total)

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop` is set. What goes wrong in one is logged, and the next tries again."""
        while not stop.is_set():
            try:
                self.tick()
            except OccamError as error:
                log.warning("this round failed: %s", error)
            except Exception:  # the thread's edge: without it one surprise would end all care for clusters
                log.exception("this round failed")
            wait.nap(CALM if self._calm() else BUSY, stop)

    def _calm(self) -> bool:
        return (
            all(cluster.state == "running" or cluster.over for cluster in self._ledger) and not self._notebooks.changing
        )

    def tick(self) -> None:
        seen = self._sight.look(0)
        for cluster in self._ledger:
            # Whoever works on a cluster now will leave it in order; the next round looks again.
            if cluster.lock.acquire(blocking=False):
                try:
                    self._tend(cluster, seen)
                except OccamError as error:
                    log.warning("cluster %s of %s: %s", cluster.facts.name, cluster.facts.owner, error)
                finally:
                    cluster.lock.release()
        self._unstick.look(seen)
        self._remove_orphans(seen)
        self._remove_forgotten()
        self._notebooks.tend(seen)

    def _tend(self, cluster: Cluster, seen: Seen) -> None:
        now = time.monotonic()
        if cluster.over:
            if cluster.failed_at is not None and now > cluster.failed_at + REMEMBERED:
                self._ledger.remove(cluster)
            return
        if cluster.ended_at is not None:
            if now > cluster.ended_at + READ_TO_THE_END:
                self._later(self._clusters.finish, cluster)
            return
        if cluster.state == "stopping" or cluster.facts.ending:
            self._later(self._clusters.end, cluster)
            return
        why = (cluster.lease.over(now) if cluster.lease else "") or self._notebook_gone(cluster, seen)
        if why:
            log.info("cluster %s of %s: ends: %s", cluster.facts.name, cluster.facts.owner, why)
            cluster.state, cluster.message = "stopping", why
            self._later(self._clusters.end, cluster)
            return
        if cluster.facts.own_driver and self._look_at_driver(cluster, seen, now):
            return
        lost = [one for one in list(cluster.executors.values()) if self._look_at(cluster, one, seen, now)]
        worst = self._bury(cluster, lost, seen, now)
        if cluster.message and worst > MOST_TRIES:
            self._later(self._clusters.fail, cluster, cluster.message)
            return
        self._fill(cluster, now, worst)
        if cluster.written != cluster.facts:
            self._clusters.write(cluster)
        self._judge(cluster)

    def _later(self, work: Callable[..., None], *words: object) -> None:
        """Removals wait for containers to end; the round does not."""

        def quietly() -> None:
            try:
                work(*words)
            except OccamError as error:
                log.warning("%s; tried again", error)

        self._pool.submit(quietly)

    def _notebook_gone(self, cluster: Cluster, seen: Seen) -> str:
        """Why a notebook's cluster has lost its notebook; "" when it has not, or never had one."""
        if cluster.facts.driver != "notebook":
            return ""
        if cluster.made > seen.began or self._notebooks.task_of(cluster.facts.owner, seen) == cluster.facts.notebook:
            return ""
        return "its notebook was stopped"

    def _look_at_driver(self, cluster: Cluster, seen: Seen, now: float) -> bool:
        """Note the state of a driver in a container of its own. True when the cluster ends with it."""
        if cluster.driver_made is None or cluster.driver_made > seen.began:
            return False  # made after the engine was looked at
        service = self._settings.names.driver(cluster.facts.owner, cluster.facts.name)
        if service not in seen.services:
            self._later(self._clusters.fail, cluster, "its driver's service was removed")
            return True
        if cluster.facts.driver == "application":
            return self._look_at_application(cluster, service, seen, now)
        tasks = seen.tasks.get(service, ())
        newest = tasks[0] if tasks else None
        cluster.driver_state = "running" if newest and newest.state == "running" else "starting"
        if newest and newest.id != cluster.driver_task:
            cluster.driver_says = cluster.driver_says if not cluster.driver_task else None
            cluster.driver_task = newest.id
        dead = [task for task in tasks if task.state in ("failed", "rejected", "complete")]
        if len(dead) >= DRIVER_DEATHS and cluster.driver_state != "running":
            why = f"its driver ended {len(dead)} times: {dead[0].message}{last_words(self._engine, service)}"
            self._later(self._clusters.fail, cluster, why)
        elif cluster.driver_node and seen.down(cluster.driver_node):
            # The swarm starts it anew when the host is back, so its sessions are lost already; and its executors, which
            # wait for it elsewhere, would hold their room until then.
            cluster.driver_state = "lost"
            why = f"the host of its driver, {seen.hostname(cluster.driver_node) or 'which is gone'}, is down"
            self._later(self._clusters.fail, cluster, why)
        return cluster.driver_state == "lost"

    def _look_at_application(self, cluster: Cluster, service: str, seen: Seen, now: float) -> bool:
        task, made = seen.newest(service), cluster.driver_made or now
        cluster.driver_state, words = _state(service, cluster.driver_node, task, seen)
        code = _exit_code(task)
        if code is not None:
            why = f"it ended with exit code {code}{last_words(self._engine, service)}" if code else ""
            self._clusters.application_ended(cluster, code, why)
            return True
        if cluster.driver_state in START and now - made > START[cluster.driver_state]:
            words = f"{cluster.driver_state} for {now - made:.0f} s: {words or 'no word'}"
        elif cluster.driver_state != "lost":
            return False
        self._later(self._clusters.fail, cluster, f"its driver: {words}")
        return True

    def _look_at(self, cluster: Cluster, one: Executor, seen: Seen, now: float) -> bool:
        """Note the state of an executor. True when it is lost."""
        if one.made is None or one.made > seen.began:
            return False  # made after the engine was looked at
        service = self._settings.names.executor(cluster.facts.owner, cluster.facts.name, one.number)
        task = seen.newest(service)
        one.state, one.message = _state(service, one.node, task, seen)
        if one.state == "running":
            one.running_since = one.running_since or now
        elif one.state in START and now - one.made > START[one.state]:
            one.state, one.message = "lost", f"{one.state} for {now - one.made:.0f} s: {one.message or 'no word'}"
            # What the scheduler cannot start in this time it will not start: a new cluster ends with its words.
            one.tries = one.tries if cluster.whole else MOST_TRIES
        return one.state == "lost"

    def _bury(self, cluster: Cluster, lost: list[Executor], seen: Seen, now: float) -> int:
        """Take lost executors out, with their last words. Returns how often the worst of them has been tried."""
        worst = 0
        for one in self._ledger.take_out(cluster, [one.number for one in lost]):
            service = self._settings.names.executor(cluster.facts.owner, cluster.facts.name, one.number)
            if not seen.down(one.node):
                one.message += last_words(self._engine, service)
            self._clusters.remove_executor(cluster, one)
            one.lost_at = now
            steady = one.running_since is not None and now - one.running_since > STEADY
            one.tries = 1 if steady else one.tries + 1
            worst = max(worst, one.tries)
            cluster.lost.append(one)
            if cluster.whole:
                cluster.tell(_farewell(one, seen))
            cluster.message = f"worker {one.number} on {seen.hostname(one.node) or 'a lost host'}: {one.message}"
            log.warning("cluster %s of %s: %s", cluster.facts.name, cluster.facts.owner, one_line(cluster.message))
        del cluster.lost[:-20]
        return worst

    def _fill(self, cluster: Cluster, now: float, worst: int) -> None:
        """Replace what is missing, once its driver was heard since the loss: of a dead driver all executors go."""
        for one in self._ledger.shrink(cluster):  # a gateway was killed while it scaled down
            self._clusters.remove_executor(cluster, one)
        if len(cluster.executors) == cluster.facts.total:
            return
        last = cluster.lost[-1].lost_at if cluster.lost else None
        heard = cluster.lease.heard if cluster.lease else None
        if cluster.facts.driver == "application":  # its workers end with its Spark session, and it may go on without
            heard = cluster.driver_heard
        if last is not None and heard is not None and heard < last:
            return
        tries = max([worst, *(one.tries for one in cluster.lost if now - (one.lost_at or 0) < STEADY)])
        seen = self._sight.look(1)
        rights = self._settings.quotas.rights(cluster.facts.owner, cluster.facts.groups)
        change = self._ledger.grow(cluster, lambda but: seen.rooms(but=but), tries, guarantee=rights.guarantee)
        if change.new:
            self._clusters.settle(cluster, change)
        if len(cluster.executors) < cluster.facts.total:
            cluster.message = f"{cluster.facts.total - len(cluster.executors)} workers are missing: the hosts are full"

    def _judge(self, cluster: Cluster) -> None:
        states = {one.state for one in cluster.executors.values()}
        complete = len(cluster.executors) == cluster.facts.total and states <= {"running"}
        driver = not cluster.facts.own_driver or cluster.driver_state == "running"
        if complete and driver and not self._counted(cluster):
            cluster.state = "starting"
        elif complete and driver:
            if cluster.state == "starting":
                log.info(
                    "cluster %s of %s: all %d workers run",
                    cluster.facts.name,
                    cluster.facts.owner,
                    len(cluster.executors),
                )
            cluster.state, cluster.whole, cluster.message = "running", True, ""
        elif cluster.state != "stopping":
            cluster.state = "running" if cluster.whole and driver else "starting"

    def _counted(self, cluster: Cluster) -> bool:
        """Whether Spark itself is there and has all the executors: a container that runs may not have found its driver.

        A notebook's library counts for itself, and shows it; an application begins with Spark when it wants to. Too
        long without is a start that failed.
        """
        has = cluster.registered
        if cluster.facts.driver != "connect" or (has is not None and has >= cluster.facts.total):
            cluster.waiting_since = None
            return True
        now = time.monotonic()
        cluster.waiting_since = cluster.waiting_since or now
        total = cluster.facts.total
        cluster.message = f"Spark counts {has or 0} of {total} workers" if total else "its driver has not called yet"
        if now > cluster.waiting_since + REGISTER and not cluster.whole:
            driver = self._settings.names.driver(cluster.facts.owner, cluster.facts.name)
            why = f"{cluster.message} after {REGISTER} s{last_words(self._engine, driver)}"
            self._later(self._clusters.fail, cluster, why)
        return False

    def _remove_orphans(self, seen: Seen) -> None:
        """Services that no cluster has known for a while."""
        known, now, still = self._ledger.services(), time.monotonic(), dict[str, float]()
        for one in seen.of_kind("executor") + seen.of_kind("driver"):
            name = one["Spec"]["Name"]
            if name not in known:
                still[name] = self._orphans.get(name, now)
                if now - still[name] > ORPHAN:
                    log.warning("service %s belongs to no cluster: removed", name)
                    swarm.remove_service(self._engine, name)
        self._orphans = still

    def _remove_forgotten(self) -> None:
        """Secrets of clusters that the ledger does not know.

        The last request of a gateway that was killed can reach the engine after its successor has read it.
        """
        now = time.monotonic()
        if now < self._looked_for_forgotten + FORGOTTEN_EVERY:
            return
        self._looked_for_forgotten = now
        known, still = {cluster.facts.nonce for cluster in self._ledger}, dict[str, float]()
        for facts in spark.read(self._engine, self._settings.course):
            if facts.nonce in known:
                continue
            still[facts.nonce] = self._forgotten.get(facts.nonce, now)
            if now - still[facts.nonce] > ORPHAN:
                log.warning("cluster %s of %s is in no ledger: removed", facts.name, facts.owner)
                for name in spark.Secrets.of(self._settings.site, facts).in_order:
                    ground.remove_secret(self._engine, name)
        self._forgotten = still


def _farewell(one: Executor, seen: Seen) -> str:
    """What the owner is told of a lost executor: its host, its own last line, or the engine says why."""
    host = seen.hostname(one.node) or "a lost host"
    lines = one.message.splitlines() or ["without a word"]
    # One that was killed as a whole could not say why: what it printed last has nothing to do with it.
    said = lines[-1] if lines[-1].strip().startswith("occam-executor:") else lines[0]
    why = f"its host {host} is down" if seen.down(one.node) else f"on {host}: {said.strip()}"
    return f"Worker {one.number} was lost, {why}. Another one comes in its place, and jobs go on."


def _found(facts: spark.Facts, seen: Seen, settings: Settings) -> Cluster:
    """The cluster of `facts` with the executors that the engine shows."""
    lease = Lease.new(time.monotonic(), settings.lease, settings.idle_timeout) if not facts.own_driver else None
    # What is there is taken as one that has run: a gateway that restarts must not end a cluster that somebody works on.
    driver = seen.services.get(settings.names.driver(facts.owner, facts.name))
    # The driver is made after the secrets: without one the gateway ended in the middle, and nobody knows of a cluster.
    ending = facts.ending or (facts.own_driver and driver is None)
    cluster = Cluster(facts, lease, facts, state="stopping" if ending else "starting", whole=True)
    cluster.driver_node = spark.node_of(driver) if driver else ""
    cluster.driver_made = time.monotonic() if facts.own_driver else None
    for number, service in spark.numbered(seen.services.values(), facts).items():
        labels = service["Spec"]["Labels"]
        cluster.executors[number] = Executor(
            number,
            spark.node_of(service),
            profile=int(labels.get(names.PROFILE, 0)),
            made=time.monotonic(),
            gpus=gpus.held(labels),
        )
    cluster.facts = replace(facts, next_id=max([facts.next_id, *(number + 1 for number in cluster.executors)]))
    return cluster


def _exit_code(task: swarm.Task | None) -> int | None:
    """Of a program that has ended; None while it runs, and for one that never did: its 0 is the engine's own."""
    if task is None or task.state not in ("complete", "failed"):
        return None
    return 0 if task.state == "complete" else task.exit_code or None


def _state(service: str, node: str, task: swarm.Task | None, seen: Seen) -> tuple[ExecutorState, str]:
    """The state of an executor or an application, and the scheduler's or container's own words."""
    if seen.down(node):
        return "lost", f"the host {seen.hostname(node) or node} is down"
    if service not in seen.services:
        return "lost", "its service was removed"
    if task is None:
        return "pending", ""
    if task.state in ("new", "allocated", "pending", "assigned"):
        return "pending", task.message
    if task.state in ("accepted", "preparing", "ready", "starting"):
        return "starting", task.message
    if task.state == "running":
        return "running", ""
    ended = "" if task.exit_code is None else f" (exit {task.exit_code})"
    return "lost", f"{task.state}: {task.message}{ended}"
