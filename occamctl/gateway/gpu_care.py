"""The care for GPUs: what is over, idle, reserved for others or broken is announced and taken back.

A notebook gives its GPUs back by being stopped, by way of the hub: so it saves, and its owner sees why. Whoever loses
GPUs is told before. In the gateway's event loop; what asks the engine is done in threads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from occamctl.errors import OccamError
from occamctl.gateway import gpu_words, server
from occamctl.gateway.api import Parts
from occamctl.gateway.cluster import Cluster
from occamctl.gateway.gpu_grants import End, Grant
from occamctl.gateway.gpu_idle import Rules, Sample, Watched, look
from occamctl.gateway.gpu_watch import Heard, Use, addresses, ask
from occamctl.gateway.refusals import NotKnown
from occamctl.gateway.sight import Seen
from occamctl.plan import gpus
from occamctl.spec.units import human_seconds

log = logging.getLogger("occam.gateway.gpus")
EVERY = 5
"""Seconds between two rounds."""
SAMPLE = 30
"""Seconds between two questions to the watchers."""
WARNED = 600
"""Seconds before the end that it is announced."""
OVERTIME = 3600
"""Seconds that a GPU which computes is left longer than its time, when nobody has reserved it."""


@dataclass
class Told:
    """An end that was announced. `at`: when it was announced, in seconds since 1970."""

    end: End
    at: float


@dataclass
class Care:
    """What is known of those who hold GPUs, by owner."""

    parts: Parts
    told: dict[str, Told] = field(default_factory=dict)
    watched: dict[str, Watched] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)
    warned: set[tuple[str, str, float]] = field(default_factory=set)
    """Clusters that were told of a reservation, with its moment."""
    suspected: set[tuple[str, str]] = field(default_factory=set)
    """Nodes and GPUs that a watcher called broken at the last question."""
    mourned: set[tuple[str, str]] = field(default_factory=set)
    """Owners and GPUs: who was told that one of theirs is broken."""
    taking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """Stops under way."""
    sampled: float = 0.0

    @property
    def rules(self) -> Rules:
        settings = self.parts.settings
        return Rules(settings.gpu_idle_timeout, settings.gpu_idle_utilization, settings.gpu_grace)

    async def run(self) -> None:
        """Rounds until it is cancelled. What goes wrong in one is logged, and the next tries again."""
        while True:
            try:
                await self.round()
            except OccamError as error:
                log.warning("this round failed: %s", error)
            except Exception:  # the edge of the task: without it one surprise would end all care for GPUs
                log.exception("this round failed")
            await asyncio.sleep(EVERY)

    async def _work(self, do: Any, *words: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.parts.pool, do, *words)

    async def round(self) -> None:
        """One look at everybody who holds GPUs."""
        seen = await self._work(self.parts.sight.look, 3.0)
        await self._work(self.parts.gpus.forget_old)
        if time.monotonic() >= self.sampled + SAMPLE:
            self.sampled = time.monotonic()
            await self._sample(seen)
        for cluster in self.parts.clusters.ledger:
            await self._alone(self._reserved_for_others(cluster))
        for grant in self._grants:
            await self._alone(self._time_over(grant))
        self._forget()

    async def _alone(self, work: Awaitable[None]) -> None:
        """What goes wrong with one holder concerns no other."""
        try:
            await work
        except OccamError as error:
            log.warning("%s; tried again", error)

    @property
    def _grants(self) -> list[Grant]:
        return self.parts.clusters.ledger.gpus.grants

    def _forget(self) -> None:
        """What is remembered of those who hold none any more."""
        there = {one.owner for one in self._grants}
        known: tuple[dict[str, Any], ...] = (self.told, self.watched, self.samples)
        for by_owner in known:
            for owner in by_owner.keys() - there:
                del by_owner[owner]
        self.mourned = {one for one in self.mourned if one[0] in there}
        now = time.time()
        self.warned = {one for one in self.warned if one[2] > now - WARNED}

    # Time ----------------------------------------------------------------------------------------------------------

    async def _time_over(self, grant: Grant) -> None:
        """Announce an end that is near, and take the GPUs back when it is there."""
        now, end = time.time(), self.parts.clusters.ledger.gpus.end_of(grant)
        if end is None or end.at > now + WARNED:
            self.told.pop(grant.owner, None)
            return
        told = self.told.get(grant.owner)
        if told is None or told.end != end:
            told = self.told[grant.owner] = Told(end, now)
            why = f"is reserved for group {end.group} from then on" if end.group else "was given until then"
            what = gpu_words.counted(grant.gpus)
            if grant.used:
                at = gpu_words.moment(max(end.at, now + self.rules.grace), now)
                self._tell(grant, f"Your notebook is stopped at {at}: {what} {why}. Save your work.")
            else:
                self._tell(grant, f"At {gpu_words.moment(end.at, now)} {what} goes back: it {why}.")
        if not grant.used and end.at <= now:
            await self._give_back(grant, "its time is over")
        elif now >= max(end.at, told.at + self.rules.grace) and not self._may_finish(grant, end, now):
            self._take(grant, "its time is over")

    def _may_finish(self, grant: Grant, end: End, now: float) -> bool:
        """Whether a computation is waited for: its time is over, and nobody in particular waits."""
        last = self.samples.get(grant.owner)
        known = last is not None and now - last.at < 2 * SAMPLE
        return not end.group and now < end.at + OVERTIME and bool(known and last and last.works(self.rules))

    def _take(self, grant: Grant, why: str) -> None:
        """Stop the notebook, which takes up to a minute: the round goes on."""
        if grant.owner not in self.taking:
            self.taking[grant.owner] = asyncio.create_task(self._alone(self._stop(grant, why)))
            self.taking[grant.owner].add_done_callback(lambda _: self.taking.pop(grant.owner, None))

    async def _stop(self, grant: Grant, why: str) -> None:
        """What the notebook held is free when its container is gone."""
        owner, hub = grant.owner, self.parts.hub
        log.info("notebook of %s: is stopped for its GPUs: %s", owner, why)
        await self._work(self.parts.gpus.release, owner)
        with suppress(NotKnown):  # who left the course has no server at the hub
            await server.stop(hub, owner)
        if owner in self.parts.clusters.ledger.notebooks:  # the hub did not know of it
            with suppress(NotKnown):
                await self._work(self.parts.notebooks.stop, owner)
        self._tell(grant, f"Your notebook was stopped, and {gpu_words.counted(grant.gpus)} given back: {why}.")

    async def _give_back(self, grant: Grant, why: str) -> None:
        """Of a notebook that does not run with them: at once."""
        await self._work(self.parts.gpus.release, grant.owner)
        self._tell(grant, f"{gpu_words.counted(grant.gpus)} went back: {why}.")

    def _tell(self, grant: Grant, text: str) -> None:
        """Tell the owner where it is seen: with the GPUs on the page, and in the notebook."""
        log.info("told %s: %s", grant.owner, text)
        self.parts.gpus.tell(grant.owner, text)

    # Reservations --------------------------------------------------------------------------------------------------

    async def _reserved_for_others(self, cluster: Cluster) -> None:
        """Workers whose GPUs are reserved for another group: told before, and gone when it begins."""
        ledger, now = self.parts.clusters.ledger, time.time()
        held = [gpu for one in list(cluster.executors.values()) for gpu in one.gpus]
        end = ledger.gpus.end(cluster.facts.groups, held) if held else None
        if end is None or end.at > now + WARNED:
            return
        key = (*cluster.key, end.at)
        if end.at > now:
            if key not in self.warned:
                self.warned.add(key)
                at = gpu_words.moment(end.at, now)
                cluster.tell(f"From {at} on GPUs of your workers are reserved for group {end.group}: those workers go.")
            return
        gone = await self._work(self.parts.clusters.make_way, cluster)
        if gone:
            cluster.tell(f"{gone} of your workers went: their GPUs are reserved for group {end.group} now.")

    # Use -----------------------------------------------------------------------------------------------------------

    async def _sample(self, seen: Seen) -> None:
        settings = self.parts.settings
        where = addresses(seen, settings.names.gpus, settings.hub_net)
        lent = {node.id: [one.uuid for one in gpus.lent(node.labels)] for node in seen.nodes.values()}
        heard = await ask(where, settings.token(), lent, time.monotonic()) if where else []
        fresh = {uuid: use for one in heard for uuid, use in one.uses.items()}
        self.parts.gpus.uses = {**self.parts.gpus.uses, **fresh}
        await self._alone(self._broken(heard, lent))
        await asyncio.gather(*(self._alone(self._look_at(grant, fresh)) for grant in self._grants))

    async def _look_at(self, grant: Grant, uses: dict[str, Use]) -> None:
        if sample := await self._of(grant, uses):
            self.samples[grant.owner] = sample
            await self._idle(grant, sample)

    async def _of(self, grant: Grant, uses: dict[str, Use]) -> Sample | None:
        """What is known of all GPUs of a notebook; None when nothing is known of one of them."""
        now = time.time()
        if not grant.used:
            return Sample(now, 0, 0)
        if any(one.uuid not in uses for one in grant.gpus):
            return None
        mine = [uses[one.uuid] for one in grant.gpus]
        processes = sum(one.processes for one in mine)
        active = await self._active(grant.owner) if processes else None
        return Sample(now, max(one.load for one in mine), processes, active)

    async def _active(self, owner: str) -> float | None:
        """When the hub last heard of somebody's server. Raises HostError: then nothing is known."""
        try:
            there = await self.parts.hub.server(owner)
        except NotKnown:
            return None
        moment = (there or {}).get("last_activity")
        return datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else None

    async def _idle(self, grant: Grant, sample: Sample) -> None:
        rules = self.rules
        self.watched[grant.owner], verdict = look(self.watched.get(grant.owner, Watched()), sample, rules)
        idle = f"not used for {human_seconds(rules.timeout)}"
        what = gpu_words.counted(grant.gpus)
        if verdict == "announce":
            way = "your notebook is stopped, and it goes back," if grant.used else "it goes back"
            self._tell(grant, f"{what} was {idle}: {way} in {human_seconds(self.rules.grace)} unless it is used.")
        elif verdict == "spare":
            self._tell(grant, f"{what} is in use again, and stays.")
        elif verdict == "take" and grant.used:
            self._take(grant, idle)
        elif verdict == "take":
            await self._give_back(grant, idle)

    async def _broken(self, heard: list[Heard], lent: Mapping[str, Collection[str]]) -> None:
        """Take GPUs out that a host's own watcher calls broken twice in a row, and take them from their holders.

        Somebody else may have taken them out: `course up`, or the gateway before this one, which ended in between.

        lent  node to the UUIDs that it lends
        """
        now = {(one.node, uuid): why for one in heard for uuid, why in one.trouble.items()}
        before, self.suspected = self.suspected, set(now)
        for node, uuid in before & set(now):
            why = now[node, uuid]
            await self._work(self.parts.gpus.take_out, node, uuid, why)
            for broken in lent.get(node, ()) if uuid == gpus.EVERY else [uuid]:
                await self._without(broken, why)

    async def _without(self, uuid: str, why: str) -> None:
        for grant in self._grants:
            if any(one.uuid == uuid for one in grant.gpus) and (grant.owner, uuid) not in self.mourned:
                self.mourned.add((grant.owner, uuid))
                self._tell(grant, f"Your GPU {uuid} is out of service: {why}. Release it to get another one.")
        for cluster in self.parts.clusters.ledger:
            if any(gpu.uuid == uuid for one in list(cluster.executors.values()) for gpu in one.gpus):
                await self._work(self.parts.clusters.without_gpu, cluster, uuid, why)
