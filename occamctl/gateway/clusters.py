"""What can be asked of Spark clusters: create, scale, give back, renew, delete. Blocking; called from threads."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from occamctl.engine import ground, swarm
from occamctl.engine.client import Engine
from occamctl.errors import DoesNotFit, OccamError, Refused
from occamctl.gateway import full, gpu_words, told
from occamctl.gateway.application import Application
from occamctl.gateway.cluster import Cluster, Executor
from occamctl.gateway.door import Door
from occamctl.gateway.last_words import last_lines, one_line
from occamctl.gateway.leases import Lease
from occamctl.gateway.ledger import Change, Ledger
from occamctl.gateway.notebooks import Notebooks
from occamctl.gateway.queue import Queue
from occamctl.gateway.quotas import Amount, Rights, human
from occamctl.gateway.refusals import NeverFits, NotKnown
from occamctl.gateway.settings import Settings
from occamctl.gateway.sight import Sight
from occamctl.gateway.subnets import Networks
from occamctl.gateway.wishes import Wish
from occamctl.plan.fit import Room
from occamctl.plan.gpus import GpuWish
from occamctl.spark import clusters as spark
from occamctl.spark.settings import DOOR_PORT, DRIVER_PORT
from occamctl.spec import names

log = logging.getLogger("occam.gateway.clusters")
FRESH = 1.0
"""Seconds: how old a look at the engine may be that workers are placed by."""
KEPT_LINES = 200
"""Of what an application printed, to be shown when its containers are gone."""
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
        self.queue, self.door = Queue(), Door()
        self._turn = threading.Lock()
        """Held while somebody is admitted: whose turn it is does not change meanwhile."""
        self._token = settings.token()

    def create(self, owner: str, wish: Wish, rights: Rights) -> dict[str, Any]:
        """A cluster as wished, whole or not at all; the answer holds its secret, which is nowhere else to be had.

        A wish that may wait and does not fit now is answered with its place in the queue, under the key `queued`.

        Raises DoesNotFit, Refused, EngineError.
        """
        self._replace_own(owner, wish)
        facts = self._facts(owner, wish)
        try:
            cluster, change = self._admit(facts, wish, rights)
        except DoesNotFit as no:
            if not wish.wait:
                raise
            return self._queued(facts, wish, rights, no)
        value = secrets.token_urlsafe(32)
        try:
            self.queue.leave(owner, wish.ticket)
            self._give_back(change, owner)
            self._make(cluster, value, wish.application)
        except OccamError:
            self._undo(cluster)
            raise
        finally:
            cluster.lock.release()
        log.info("cluster %s of %s: made, %d workers on %s", facts.name, owner, facts.total, self._hosts(cluster))
        conf = spark.driver_conf(self._site, cluster.facts, int(self._settings.notebook_memory))
        conf["spark.occam.grace"] = f"{self._settings.lease:g}s"  # how long a driver waits for its kernel to come back
        return self.view(cluster) | {"secret": value, "token": self.token_of(facts), "conf": conf}

    def _facts(self, owner: str, wish: Wish) -> spark.Facts:
        settings, workers = self._settings, wish.workers
        if wish.adaptive:
            workers = min(max(workers, wish.adaptive[0]), wish.adaptive[1])
        return spark.Facts(
            owner=owner,
            name=wish.name,
            app_id=f"app-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(4)}",
            nonce=secrets.token_hex(2),
            driver=wish.driver,
            driver_host=wish.driver_host,
            driver_port=wish.driver_port or DRIVER_PORT,
            cores=wish.cores or settings.worker_cpus,
            memory=wish.memory or settings.worker_memory,
            wanted=workers,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            kernel=wish.kernel,
            ui_port=wish.ui_port,
            declared=wish.declared,
            notebook=self._notebook(owner) if wish.driver == "notebook" else "",
            adaptive=wish.adaptive,
        ).with_gpus(wish.gpu)

    def _admit(self, facts: spark.Facts, wish: Wish, rights: Rights) -> tuple[Cluster, Change]:
        """Raises DoesNotFit, also when others wait for room: what is guaranteed is had at once, the rest in turn."""
        with self._turn:
            rooms, size = self._rooms(), facts.sizes[0]
            ahead = len(self.queue.ahead(wish.ticket, time.monotonic(), gpu=size.gpu is not None))
            empty = self._sight.last.empty()
            if size.gpu and (never := gpu_words.never(size.gpu, empty)):
                never.where = facts.owner
                raise never  # before any word of a quota: no smaller number would do
            try:
                with gpu_words.those_out_named(size.gpu, self._sight.last.out()):
                    return self.ledger.admit(facts, rights, rooms, self._lease(facts), ahead)
            except DoesNotFit as no:
                why = full.never(size, empty)
                if why and facts.total and _allowed(self.ledger.amount(facts), rights):
                    raise NeverFits(why, where=facts.owner, fix="ask for smaller workers") from no
                if isinstance(no, NeverFits) and full.most(facts, empty) >= facts.total:
                    # Such GPUs are there, on a host that is down or out of service: it may come back.
                    raise DoesNotFit(no.what, where=no.where, fix=no.fix) from no
                raise

    def _queued(self, facts: spark.Facts, wish: Wish, rights: Rights, no: DoesNotFit) -> dict[str, Any]:
        """A place in the queue. Raises DoesNotFit for what no waiting brings: all others would wait behind it."""
        owner, alone = facts.owner, self.ledger.amount(facts)
        if isinstance(no, NeverFits) or not _allowed(alone, rights):
            raise no
        most = full.most(facts, self._sight.last.empty())
        if most < facts.total:
            what = f"{no.what}; and no waiting brings more than {most}: that is all that the hosts have"
            raise NeverFits(what, where=owner, fix=f"ask for at most {most}" if most else "ask for smaller workers")
        now = time.monotonic()
        for_room = not self.ledger.waits_for_own(owner, alone, rights)
        gpu = facts.sizes[0].gpu is not None
        ticket = self.queue.join(owner, wish.name, wish.ticket, now, for_room=for_room, gpu=gpu)
        place = len(self.queue.ahead(ticket.id, now, gpu=gpu)) + 1
        return {"queued": {"ticket": ticket.id, "position": place, "of": len(self.queue), "message": no.what}}

    def _give_back(self, change: Change, to: str) -> None:
        """Tell the engine and the owners which borrowed workers go.

        It takes no cluster's lock: two may ask for each other's workers at the same time. Each cluster's facts are
        written before its workers go, so that a gateway that is killed here does not bring them back.
        """
        for cluster, executors in change.taken.values():
            many = len(executors)
            workers = "one of your workers goes" if many == 1 else f"{many} of your workers go"
            cluster.tell(
                f"{workers} back: others asked for what is guaranteed to them. "
                f"{cluster.facts.total} stay; running tasks finish or move."
            )
            log.info(
                "cluster %s of %s: %d workers taken back for %s", cluster.facts.name, cluster.facts.owner, many, to
            )
            self.write(cluster)
            for one in executors:
                self.remove_executor(cluster, one)

    def write(self, cluster: Cluster) -> None:
        """Remember the facts as they are now. What could not be written is written by the loop."""
        with cluster.writing:
            facts, cluster.written = cluster.facts, None
            spark.write(self._engine, self._site, facts)
            cluster.written = facts

    def make_way(self, cluster: Cluster) -> int:
        """Give up the workers whose GPUs are reserved for others now; how many went. Raises EngineError."""
        gone = self.ledger.gpus.take_reserved(cluster)
        if gone:
            self.write(cluster)
        for one in gone:
            self.remove_executor(cluster, one)
        return len(gone)

    def without_gpu(self, cluster: Cluster, uuid: str, why: str) -> None:
        """Give up the worker with a GPU that is broken: another one comes in its place. Raises EngineError."""
        with cluster.lock:
            broken = [one.number for one in cluster.executors.values() if any(gpu.uuid == uuid for gpu in one.gpus)]
            for one in self.ledger.take_out(cluster, broken):
                one.state, one.message, one.lost_at = "lost", f"its GPU is out of service: {why}", time.monotonic()
                cluster.lost.append(one)
                cluster.tell(f"Worker {one.number} was lost, its GPU is out of service: {why}. Another one comes.")
                self.remove_executor(cluster, one)

    def _replace_own(self, owner: str, wish: Wish) -> None:
        """Wait for the end of one's own former cluster of that name.

        A kernel that was restarted keeps its id: what it had before is nobody's any more. A notebook that was closed
        gives its cluster back a moment before the next one asks.
        """
        with suppress(NotKnown):
            there = self.ledger.get(owner, wish.name)
            if there.over or there.facts.own_driver:
                return
            restarted = bool(wish.kernel) and there.facts.kernel == wish.kernel
            if restarted:
                log.info("cluster %s of %s: its kernel was restarted", wish.name, owner)
            if restarted or there.state == "stopping":
                self.end(there)

    def _notebook(self, owner: str) -> str:
        task = self._notebooks.task_of(owner, self._sight.look(FRESH))
        if not task:
            raise Refused(
                "its notebook does not run", where=owner, fix="a cluster of its own kind needs driver: connect"
            )
        return task

    def _lease(self, facts: spark.Facts) -> Lease | None:
        if facts.own_driver:
            return None
        return Lease.new(time.monotonic(), self._settings.lease, self._settings.idle_timeout)

    def _rooms(self, max_age: float = FRESH) -> Any:
        seen = self._sight.look(max_age)

        def rooms(but: frozenset[str]) -> list[Room]:
            return seen.rooms(but=but)

        return rooms

    def _make(self, cluster: Cluster, value: str, application: Application | None) -> None:
        facts = cluster.facts
        subnet = self._networks.ensure(facts.owner)
        # First what remembers the cluster: whatever is made after it is never nobody's.
        ground.ensure_secret(self._engine, spark.secret(self._site, facts, value))
        cluster.written = facts
        if facts.own_driver:
            conf, packed = (application.settings, application.packed()) if application else ({}, b"")
            token = self.token_of(facts)
            for one in spark.driver_secrets(self._site, facts, value, token, conf=conf, packed=packed):
                ground.ensure_secret(self._engine, one)
            swarm.ensure_service(self._engine, spark.driver(self._site, facts, cluster.driver_node, subnet))
            cluster.driver_made = time.monotonic()
        self._start(cluster, cluster.executors.values(), subnet)

    def _start(self, cluster: Cluster, executors: Iterable[Executor], subnet: str) -> None:
        for one in list(executors):
            made = spark.executor(self._site, cluster.facts, one.number, one.node, subnet, one.profile, one.gpus)
            swarm.ensure_service(self._engine, made)
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
            self._leave_network(cluster.facts.owner)

    def scale(self, owner: str, name: str, workers: int, rights: Rights, gpu: GpuWish | None = None) -> dict[str, Any]:
        """Give the cluster `workers` executors; an adaptive one at most so many.

        gpu  give it so many with these GPUs, beside those without; where all have such GPUs those are meant

        Raises NotKnown, Refused, DoesNotFit, EngineError.
        """
        cluster = self._living(owner, name)
        if gpu and not cluster.facts.gpus:
            size = self._with_gpu_workers(cluster, gpu)
            return self._resize(cluster, {spark.GPU_WORKERS: workers}, rights, size=size)
        if gpu and gpu not in (GpuWish(), cluster.facts.sizes[0].gpu):
            raise Refused(
                f"the workers of {name!r} have {cluster.facts.sizes[0].gpu} each",
                where=owner,
                fix="make another cluster",
            )
        if cluster.facts.adaptive:
            least = min(cluster.facts.adaptive[0], workers)
            return self.adapt(owner, name, (least, max(workers, 1)), rights)
        return self._resize(cluster, {0: workers}, rights)

    def adapt(self, owner: str, name: str, bounds: tuple[int, int], rights: Rights) -> dict[str, Any]:
        """Let an adaptive cluster choose between other numbers. Raises NotKnown, Refused, DoesNotFit, EngineError."""
        cluster = self._living(owner, name)
        if cluster.facts.adaptive is None:
            raise Refused(
                f"the cluster {name!r} has a fixed size", where=owner, fix="start one with adaptive=(1, 6), or scale it"
            )
        with cluster.lock:
            wanted = min(max(cluster.facts.wanted, bounds[0]), bounds[1])
            return self._resize(cluster, {0: wanted}, rights, bounds=bounds)

    def _with_gpu_workers(self, cluster: Cluster, gpu: GpuWish) -> spark.Profile:
        """The size of workers with GPUs, beside those without. Raises Refused."""
        owner, facts = cluster.facts.owner, cluster.facts
        if facts.adaptive:
            raise Refused(
                "Spark itself chooses the workers of an adaptive cluster",
                where=owner,
                fix="ask for GPUs in a ResourceProfile, for the stages that need them",
            )
        there = facts.size(spark.GPU_WORKERS)
        if there.id == spark.GPU_WORKERS and there.wanted and there.gpu != gpu:
            raise Refused(
                f"it has {there.wanted} workers with {there.gpu} each", where=owner, fix="scale those to 0 first"
            )
        return spark.Profile(spark.GPU_WORKERS, 0, facts.cores, facts.memory).with_gpus(gpu)

    def _resize(
        self,
        cluster: Cluster,
        wants: dict[int, int],
        rights: Rights,
        *,
        size: spark.Profile | None = None,
        bounds: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        rooms = self._rooms()
        with cluster.lock:
            self._must_be_it(cluster)
            before = cluster.facts
            gpu = (size or before.sizes[0]).gpu
            with self._turn, gpu_words.those_out_named(gpu, self._sight.last.out()):
                waiting = self._others_wait(before.owner, gpu=gpu is not None)
                change = self.ledger.resize(cluster, wants, rights, rooms, size=size, bounds=bounds, waiting=waiting)
            self._settle_change(cluster, before, change)
        return self.view(cluster)

    def _others_wait(self, owner: str, *, gpu: bool) -> int:
        """How many requests of others wait for room that workers with GPUs, or without, would take."""
        return sum(one.owner != owner for one in self.queue.ahead("", time.monotonic(), gpu=gpu))

    def grant(
        self, owner: str, name: str, wants: dict[int, int], sizes: dict[int, spark.Profile], rights: Rights
    ) -> dict[str, Any]:
        """Spark's own wish, by resource profile: as much of it as quota and hosts allow now is granted.

        The answer says, under the key `never`, of which profiles no worker will ever come, and why: a stage that needs
        one would wait for ever.

        Raises NotKnown, EngineError.
        """
        cluster = self._living(owner, name)
        rooms = self._rooms()
        with cluster.lock:
            self._must_be_it(cluster)
            before = cluster.facts
            change = self.ledger.grant(
                cluster, wants, sizes, rights, rooms, self._may_add(owner, rights, sizes.values())
            )
            self._settle_change(cluster, before, change)
        waiting = [one for one in cluster.facts.sizes if wants.get(one.id) and not one.wanted]
        never = {str(one.id): why for one in waiting if (why := self._never(one, rights))}
        return self.view(cluster) | {"never": never}

    def _never(self, size: spark.Profile, rights: Rights) -> str:
        """Why there will be no worker of this size, whoever gives back what; "" when there may be one."""
        alone = self.ledger.amount_of(size, 1)
        for whose, limits in (("you", rights.limits), *((one.called, one.limits) for one in rights.shared)):
            if name := limits.over(alone):
                needs, most = (human(name, getattr(one, name)) for one in (alone, limits))
                return f"one worker needs {needs}, and {whose} may hold {most}"
        empty = self._sight.last.empty()
        if size.gpu and (no := gpu_words.never(size.gpu, empty)):
            return no.what
        return full.never(size, empty)

    def _may_add(self, owner: str, rights: Rights, sizes: Iterable[spark.Profile]) -> int:
        """Workers that an owner may add at all: while others wait for room, only what is guaranteed."""
        if self._others_wait(owner, gpu=any(one.gpu for one in sizes)):
            return max(0, rights.guarantee - self.ledger.held(owner).workers)
        return 1_000_000

    def _settle_change(self, cluster: Cluster, before: spark.Facts, change: Change) -> None:
        if not (change.new or change.gone or cluster.facts != cluster.written):  # other bounds are a change as well
            return
        self.settle(cluster, change)
        if cluster.facts.total != before.total:
            log.info("cluster %s of %s: %d workers, were %d", *cluster.key[::-1], cluster.facts.total, before.total)

    def settle(self, cluster: Cluster, change: Change) -> None:
        """Bring the engine to what the ledger already says. Numbers are written down before they are used.

        What fails is made up for by the loop: new executors get new numbers, and those that nobody knows are removed.
        """
        try:
            self._give_back(change, cluster.facts.owner)
            self.write(cluster)
            for one in change.gone:
                self.remove_executor(cluster, one)
            if change.new:
                cluster.state = "starting" if not cluster.whole else cluster.state
                self._start(cluster, change.new, self._networks.ensure(cluster.facts.owner))
        except OccamError:
            self.ledger.take_out(cluster, [one.number for one in change.new if one.made is None])
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

    def declare(self, owner: str, name: str) -> dict[str, Any]:
        """From now on the course file asks for the cluster. Raises NotKnown, EngineError."""
        cluster = self._living(owner, name)
        with cluster.lock:
            cluster.facts = replace(cluster.facts, declared=True)
            self.write(cluster)
        return self.view(cluster)

    def delete(self, owner: str, name: str) -> None:
        """Remove it and wait until nothing of it is left. Raises NotKnown, EngineError, TookTooLong."""
        self.end(self.ledger.get(owner, name))

    def end(self, cluster: Cluster) -> None:
        """Remove everything of a cluster; only then its workers can be used again. Calling it twice is fine."""
        with cluster.lock:
            if cluster.over or cluster not in list(self.ledger):
                self.ledger.remove(cluster)
                return
            cluster.state = "stopping"
            self._clear(cluster)
            self.ledger.remove(cluster)
        self._leave_network(cluster.facts.owner)
        log.info("cluster %s of %s: gone", cluster.facts.name, cluster.facts.owner)

    def _leave_network(self, owner: str) -> None:
        """The owner's network goes with the last that uses it; a notebook that is stopped uses it too."""

        def used() -> bool:
            if owner in self.ledger.notebooks or not all(one.over for one in self.ledger.of(owner)):
                return True
            return swarm.service(self._engine, self._site.names.notebook(owner)) is not None

        try:
            self._networks.remove_unused(owner, used)
        except OccamError as error:
            log.warning("the network of %s stays: %s", owner, error)

    def fail(self, cluster: Cluster, why: str) -> None:
        """Remove everything, and keep the reason for those who ask."""
        log.warning("cluster %s of %s: failed: %s", cluster.facts.name, cluster.facts.owner, one_line(why))
        self._remember(cluster, why, "failed")
        self._leave_network(cluster.facts.owner)

    def application_ended(self, cluster: Cluster, exit_code: int, why: str) -> None:
        """Its workers go at once; its driver's log can be read to the end for a while before that goes too."""
        log.info("application %s of %s: ended with exit code %d", *cluster.key[::-1], exit_code)
        with cluster.lock:
            cluster.exit_code, cluster.message, cluster.state = exit_code, why, "stopping"
            cluster.ended_at = time.monotonic()
            cluster.facts = cluster.facts.wanting({one.id: 0 for one in cluster.facts.sizes})
            self.settle(cluster, Change(gone=self.ledger.take_out(cluster, list(cluster.executors))))

    def finish(self, cluster: Cluster) -> None:
        """Remove what is left of an application that has ended, and keep how it ended for those who ask."""
        with cluster.lock:
            if cluster.over or cluster not in list(self.ledger):  # somebody was quicker
                return
            driver = self._site.names.driver(cluster.facts.owner, cluster.facts.name)
            cluster.log = tuple(last_lines(self._engine, driver, KEPT_LINES))
            self._remember(cluster, cluster.message, "failed" if cluster.exit_code else "finished")
        self._leave_network(cluster.facts.owner)

    def _remember(self, cluster: Cluster, why: str, state: Literal["failed", "finished"]) -> None:
        with cluster.lock:
            cluster.message, cluster.state = why, "stopping"
            self._clear(cluster)
            ended = self.ledger.take_out(cluster, list(cluster.executors))
            cluster.lost += [
                replace(one, state="lost", message=one.message or "removed with its cluster") for one in ended
            ]
            cluster.driver_node = ""
            cluster.state, cluster.failed_at = state, time.monotonic()

    def _clear(self, cluster: Cluster) -> None:
        cluster.facts = replace(cluster.facts, ending=True)
        with suppress(OccamError):  # the secret may be gone already; then there is nothing to remember
            self.write(cluster)
        spark.remove(self._engine, self._site, cluster.facts, seconds=REMOVAL)

    def join(self, user: str, name: str) -> dict[str, Any]:
        """How `user` comes into the course's cluster: a ticket for one connection. Raises NotKnown, Refused."""
        cluster = self._living(names.COURSE_OWNER, name)
        if cluster.facts.driver != "connect":
            raise Refused(f"{name!r} is an application, which nobody can join")
        if cluster.driver_state != "running":
            raise Refused(f"the course's cluster {name!r} is still starting", fix="try again in half a minute")
        ticket = self.door.ticket(user, cluster.facts.app_id, time.monotonic())
        host = f"tasks.{self._site.names.driver(names.COURSE_OWNER, name)}"
        return {"ticket": ticket, "host": host, "port": DOOR_PORT}

    def admit(self, owner: str, name: str, ticket: str) -> dict[str, Any]:
        """Whose ticket a connection came with. Raises NotKnown when it opens nothing."""
        user = self.door.admit(ticket, self.ledger.get(owner, name).facts.app_id, time.monotonic())
        if not user:
            raise NotKnown("this ticket opens nothing", where=f"{owner}/{name}")
        log.info("cluster %s of %s: %s came in", name, owner, user)
        return {"user": user}

    def logs(self, owner: str, name: str, worker: str, tail: int) -> str:
        """What its workers printed, or one of them, or its `driver`. Raises NotKnown."""
        return told.logs(self._engine, self._site.names, self.ledger.get(owner, name), worker, tail)

    def free(self, cores: int = 0, memory: int = 0) -> int:
        """How many more workers would find room on the hosts now."""
        settings = self._settings
        return self.ledger.free(cores or settings.worker_cpus, memory or settings.worker_memory, self._rooms())

    def token_of(self, facts: spark.Facts) -> str:
        """What a driver shows to the gateway; good for its cluster only, and derived: nobody keeps it."""
        text = f"{facts.owner}\0{facts.name}\0{facts.app_id}"
        return hmac.new(self._token.encode(), text.encode(), hashlib.sha256).hexdigest()

    def is_driver(self, owner: str, name: str, token: str) -> bool:
        """Whether `token` is that of the cluster's driver."""
        try:
            facts = self.ledger.get(owner, name).facts
        except NotKnown:
            return False
        return hmac.compare_digest(self.token_of(facts).encode(), token.encode())

    def _living(self, owner: str, name: str) -> Cluster:
        cluster = self.ledger.get(owner, name)
        if not cluster.living:
            raise NotKnown(f"the cluster {name!r} is {cluster.state} {cluster.message}".rstrip(), where=owner)
        return cluster

    def _must_be_it(self, cluster: Cluster) -> None:
        """Raises NotKnown when it was removed while its lock was waited for, also when another has its name by now."""
        if self._living(*cluster.key) is not cluster:
            raise NotKnown(f"the cluster {cluster.facts.name!r} was removed meanwhile", where=cluster.facts.owner)

    def _hosts(self, cluster: Cluster) -> str:
        seen = self._sight.last
        return ", ".join(seen.hostname(one.node) for one in cluster.executors.values()) or "no host"

    def view(self, cluster: Cluster) -> dict[str, Any]:
        """The cluster as the API shows it; touches no engine."""
        return told.view(cluster, self._sight.last, self._site.names)


def _allowed(alone: Amount, rights: Rights) -> bool:
    """Whether the quotas allow it at all, when nothing else is held."""
    return not any(limits.over(alone) for limits in (rights.limits, *(one.limits for one in rights.shared)))
