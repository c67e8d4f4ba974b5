"""The care for GPUs: who is told what and when, and whose notebook is stopped. Hub and engine only take notes."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from occamctl.errors import HostError
from occamctl.gateway import gpu_care, gpu_watch
from occamctl.gateway.gpu_care import OVERTIME, WARNED, Care
from occamctl.gateway.gpu_idle import GRACE, Sample
from occamctl.gateway.gpu_watch import Heard, Use, addresses, understood
from occamctl.gateway.ledger import Ledger, Worker
from occamctl.gateway.quotas import Amount, Limits, Quota, Quotas, Rights
from occamctl.gateway.sight import Seen
from occamctl.plan.fit import Room
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu

from .test_ledger import facts
from .test_sight import task

GIB = 1 << 30
A100 = Gpu("GPU-a", "NVIDIA A100-SXM4-40GB", 40 * GIB)
T4 = Gpu("GPU-t", "Tesla T4", 16 * GIB)
LENT = {"a": ["GPU-a", "GPU-t"]}
PLAIN, PHD = Rights(Limits()), Rights(Limits(), groups=("phd",))


def rooms(but: frozenset[str]) -> list[Room]:
    return [Room("a", "host-a", 100, 200 * GIB, gpus=(A100, T4), lent=(A100, T4))]


class Imagined:
    """Hub, engine and the rest: what is asked of them changes the ledger as it would really."""

    def __init__(self) -> None:
        self.now = time.time()
        quotas = Quotas(Quota(Limits(workers=9)), Quota(Limits(workers=9)))
        self.ledger = Ledger("ml", Worker(1, 2 * GIB), quotas, lambda: self.now)
        self.stopped: list[str] = []
        self.out: list[tuple[str, str, str]] = []
        self.replaced: list[str] = []
        self.away = False
        self.gpus = self.clusters = self.notebooks = self.hub = self
        self.pool = ThreadPoolExecutor(1)
        self.uses: dict[str, Any] = {}
        self.gpu_idle_timeout, self.gpu_idle_utilization = 1800, 5.0
        self.gpu_grace = GRACE
        self.settings = self

    def forget_old(self) -> None:
        self.ledger.gpus.over()

    def release(self, owner: str) -> None:
        self.ledger.gpus.release(owner)

    def tell(self, owner: str, text: str) -> None:
        self.ledger.gpus.tell(owner, text)

    def make_way(self, cluster: Any) -> int:
        return len(self.ledger.gpus.take_reserved(cluster))

    def take_out(self, node: str, uuid: str, why: str) -> None:
        self.out.append((node, uuid, why))

    def without_gpu(self, cluster: Any, uuid: str, why: str) -> None:
        self.replaced.append(uuid)
        broken = [one.number for one in cluster.executors.values() if any(gpu.uuid == uuid for gpu in one.gpus)]
        self.ledger.take_out(cluster, broken)

    async def stop_server(self, owner: str) -> None:
        if self.away:
            raise HostError("the hub does not answer", where="hub")
        self.stopped.append(owner)
        self.ledger.release_notebook(owner)

    async def server(self, owner: str) -> None:
        return None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Imagined:
    made = Imagined()
    monkeypatch.setattr(gpu_care.time, "time", lambda: made.now)
    return made


def care_of(world: Imagined) -> Care:
    parts: Any = world
    return Care(parts)


def run(world: Imagined, owner: str, seconds: float, rights: Rights = PLAIN, *, used: bool = True) -> None:
    world.ledger.gpus.assign(owner, GpuWish(), seconds, rights, rooms)
    if used:
        world.ledger.hold_notebook(owner, Amount(cpus=1), rights)
        world.ledger.gpus.use(owner)


def look(care: Care, world: Imagined) -> list[str]:
    """One round without an engine; what people were told since the last one."""

    async def once() -> None:
        for cluster in world.ledger:
            await care._alone(care._reserved_for_others(cluster))
        for grant in world.ledger.gpus.grants:
            await care._alone(care._time_over(grant))
        await asyncio.gather(*care.taking.values())

    before = {owner: len(world.ledger.gpus.notices(owner)) for owner in ("anna", "bob")}
    asyncio.run(once())
    return [one.text for owner, many in before.items() for one in world.ledger.gpus.notices(owner)[many:]]


def test_the_end_is_told_before_and_then_the_notebook_is_stopped(world: Imagined) -> None:
    run(world, "anna", 3600)
    care = care_of(world)
    assert look(care, world) == []
    world.now += 3600 - WARNED + 1
    (told,) = look(care, world)
    assert told.startswith("Your notebook is stopped at ")
    assert "1 Tesla T4 was given until then. Save your work." in told
    assert look(care, world) == [], "once is enough"
    world.now += WARNED - 2
    assert (look(care, world), world.stopped) == ([], [])
    world.now += 2
    (told,) = look(care, world)
    assert told == "Your notebook was stopped, and 1 Tesla T4 given back: its time is over."
    assert world.stopped == ["anna"]
    assert world.ledger.gpus.of("anna") is None


def test_there_are_always_five_minutes_after_the_announcement(world: Imagined) -> None:
    run(world, "anna", 60)
    care = care_of(world)
    assert len(look(care, world)) == 1
    world.now += GRACE - 1
    assert (look(care, world), world.stopped) == ([], [])
    world.now += 1
    assert len(look(care, world)) == 1
    assert world.stopped == ["anna"]


def test_a_computation_may_finish_for_a_while_unless_others_wait(world: Imagined) -> None:
    run(world, "anna", 3600)
    care = care_of(world)
    world.now += 3600
    look(care, world)
    world.now += GRACE
    care.samples["anna"] = Sample(world.now, 90, 1)
    assert (look(care, world), world.stopped) == ([], [])
    world.now += OVERTIME
    care.samples["anna"] = Sample(world.now, 90, 1)
    look(care, world)
    assert world.stopped == ["anna"]

    run(world, "bob", 7200)
    world.ledger.gpus.reserve("phd", GpuWish(2), world.now + 1200, world.now + 3600, rooms)
    world.now += 1200 - WARNED
    (told,) = look(care, world)
    assert "is reserved for group phd from then on" in told
    world.now += WARNED
    care.samples["bob"] = Sample(world.now, 90, 1)
    look(care, world)
    assert world.stopped == ["anna", "bob"]


def test_a_hub_that_is_away_is_asked_again(world: Imagined) -> None:
    run(world, "anna", 60)
    care, world.away = care_of(world), True
    look(care, world)
    world.now += GRACE
    assert (look(care, world), world.stopped) == ([], [])
    assert world.ledger.gpus.of("anna"), "its container still has it"
    world.away = False
    look(care, world)
    assert world.stopped == ["anna"]
    assert world.ledger.gpus.of("anna") is None


def test_what_no_notebook_runs_with_goes_back_at_once(world: Imagined) -> None:
    run(world, "anna", 3600, used=False)
    care = care_of(world)
    world.now += 3600
    assert look(care, world)[-1] == "1 Tesla T4 went back: its time is over."
    assert (world.stopped, world.ledger.gpus.of("anna")) == ([], None)


def test_workers_make_way_for_a_reservation(world: Imagined) -> None:
    cluster, _ = world.ledger.admit(facts("anna", wanted=2, gpus=1), PLAIN, rooms, None)
    kept = world.ledger.gpus.reserve("phd", GpuWish(model="T4"), world.now + 900, world.now + 3600, rooms)
    care = care_of(world)
    look(care, world)
    assert cluster.notices == []
    world.now += 900 - WARNED
    for _ in range(2):
        look(care, world)
    assert [one.text.partition(" on ")[2] for one in cluster.notices] == [
        "GPUs of your workers are reserved for group phd: those workers go."
    ]
    assert len(cluster.executors) == 2
    world.now += WARNED
    look(care, world)
    assert (len(cluster.executors), cluster.facts.wanted) == (1, 1)
    assert all(gpu not in kept.gpus for one in cluster.executors.values() for gpu in one.gpus)


def test_idle_ones_are_announced_and_taken(world: Imagined) -> None:
    run(world, "anna", 90_000)
    care = care_of(world)

    async def one(sample: Sample) -> None:
        await care._idle(world.ledger.gpus.grants[0], sample)
        await asyncio.gather(*care.taking.values())

    for at in range(0, 1800 + GRACE, 30):
        asyncio.run(one(Sample(at, 1, 0)))
    assert [one.text for one in world.ledger.gpus.notices("anna")] == [
        "1 Tesla T4 was not used for 30m: your notebook is stopped, and it goes back, in 5m unless it is used."
    ]
    asyncio.run(one(Sample(1800 + GRACE, 1, 0)))
    assert world.stopped == ["anna"]


def test_a_gpu_that_is_broken_twice_in_a_row_is_taken_out_and_told_once(world: Imagined) -> None:
    run(world, "anna", 3600)
    care, broken = care_of(world), [Heard("a", {}, {"GPU-t": "Xid 79: it has fallen off the bus"})]
    for heard in (broken, [Heard("a")], broken):
        asyncio.run(care._broken(heard, LENT))
    assert world.out == []
    for _ in range(2):
        asyncio.run(care._broken(broken, LENT))
    assert len(world.out) == 2
    assert [one.text for one in world.ledger.gpus.notices("anna")] == [
        "Your GPU GPU-t is out of service: Xid 79: it has fallen off the bus. Release it to get another one."
    ]


@pytest.mark.parametrize("trouble", ["GPU-t", "*"])
def test_a_worker_whose_gpu_was_taken_out_by_an_earlier_gateway_is_replaced(world: Imagined, trouble: str) -> None:
    asked = facts(wanted=1).with_gpus(GpuWish(model="T4"))
    world.ledger.admit(asked, PLAIN, rooms, None)
    care, broken = care_of(world), [Heard("a", {}, {trouble: "the driver hangs"})]
    for _ in range(3):
        asyncio.run(care._broken(broken, LENT))
    assert world.replaced == ["GPU-t"], "once, and without being the one who took it out"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{}", b'{"gpus": 1}', b'{"gpus": [{}]}', b'{"gpus": [], "age": "x"}', b"[" * 9000],
)
def test_a_watcher_that_says_nonsense_tells_nothing(body: bytes) -> None:
    assert understood("a", body, 0, ["GPU-a"]) == Heard("a")


def watcher(*gpus: dict[str, Any], trouble: str = "", age: float = 1) -> Heard:
    """What is understood of an answer of a host that lends GPU-a and GPU-t."""
    said = {"node": "a", "host": "host-a", "age": age, "trouble": trouble, "gpus": gpus}
    return understood("a", json.dumps(said).encode(), 3.0, ["GPU-a", "GPU-t"])


def gpu(uuid: str, load: int | None, used: int = 0, *processes: int) -> dict[str, Any]:
    return {"uuid": uuid, "utilization": load, "memory_used": used, "memory": 16 * GIB, "processes": list(processes)}


def test_what_a_watcher_says() -> None:
    heard = watcher(gpu("GPU-a", 7, 5, 12, 13), gpu("GPU-t", 0, GIB))
    assert heard.uses == {"GPU-a": Use(3.0, 7, 5, 2), "GPU-t": Use(3.0, 0, GIB, 1)}, "memory tells of a hidden process"
    assert [one.load for one in heard.uses.values()] == [7, 0]
    assert heard.trouble == {}
    mig = watcher(gpu("MIG-1", None, GIB), gpu("MIG-2", None, 12 << 20))
    assert [one.load for one in mig.uses.values()] == [100, 0], "no load is told of a MIG instance"


def test_trouble_is_of_the_gpus_that_are_missing_or_of_all() -> None:
    lost = watcher(gpu("GPU-a", 7), trouble="GPU 0000:07:00.0: GPU is lost")
    assert (set(lost.uses), lost.trouble) == ({"GPU-a"}, {"GPU-t": "GPU 0000:07:00.0: GPU is lost"})
    hangs = watcher(gpu("GPU-a", 7), gpu("GPU-t", 0), trouble="the driver hangs", age=90)
    assert (hangs.uses, hangs.trouble) == ({}, {"*": "the driver hangs"})
    for nothing in (watcher(trouble="not read yet"), watcher(gpu("GPU-a", 7), age=90)):
        assert (nothing.uses, nothing.trouble) == ({}, {}), "to know nothing is not trouble"
    assert len(watcher(trouble="x" * 1000).trouble["*"]) == 300


def test_watchers_are_asked_with_the_token_and_the_silent_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watcher(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.headers.get("Authorization") == "token sesame"
            self.send_response(200 if right else 403)
            self.end_headers()
            self.wfile.write(json.dumps({"gpus": [gpu("GPU-a", 7)], "trouble": "", "age": 0}).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Watcher) as there:
        Thread(target=there.serve_forever, daemon=True).start()
        monkeypatch.setattr(gpu_watch, "PORT", there.server_port)
        where, lent = {"a": "127.0.0.1", "b": "127.0.0.2:1"}, {"a": ["GPU-a"]}
        (heard,) = asyncio.run(gpu_watch.ask(where, "sesame", lent, 0.0))
        refused = asyncio.run(gpu_watch.ask({"a": "127.0.0.1"}, "wrong", lent, 0.0))
        there.shutdown()
    assert (heard.node, heard.uses["GPU-a"].load) == ("a", 7)
    assert refused == []


def test_only_watchers_on_our_network_are_asked() -> None:
    there = task("a")
    other, gone = task("b"), task("c", "failed")
    for one, address in ((there, {"net": "10.0.0.5"}), (other, {"else": "10.0.0.6"}), (gone, {"net": "10.0.0.7"})):
        object.__setattr__(one, "addresses", address)
    seen = Seen(0.0, {}, {}, {"ml-gpus": (there, other, gone)})
    assert addresses(seen, "ml-gpus", "net") == {"a": "10.0.0.5"}
