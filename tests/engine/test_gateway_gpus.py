"""GPUs of notebooks and workers, against a real swarm whose engines know named generic resources; no card is there."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests

from occamctl import wait
from occamctl.engine import ground, nodes, swarm
from occamctl.engine.client import Engine
from occamctl.plan import gpus
from occamctl.plan.observed import Gpu

from . import gateway_stage
from .gateway_stage import ADMIN, ANNA, BOB, PEOPLE, HubsAnswers, Stage

pytestmark = [pytest.mark.engine, pytest.mark.light]

GIB = 1 << 30
USER = PEOPLE[ANNA][0]
HERS = f"/users/{quote(USER, safe='')}"
HIS = "/users/bob"
THERE = {
    1: (Gpu("GPU-a0", "NVIDIA A100-SXM4-40GB", 40 * GIB), Gpu("GPU-a1", "NVIDIA A100-SXM4-40GB", 40 * GIB)),
    2: (Gpu("GPU-t", "Tesla T4", 16 * GIB), Gpu("MIG-5", "NVIDIA A100-SXM4-40GB", 5 * GIB, "1g.5gb")),
}
SETTINGS = {
    "gpu_grace": 3,
    "quotas": {
        "student": {"workers": 9, "gpus": 2},
        "instructor": {"workers": 9},
        "groups": {"phd": {"workers": 9}},
    },
}


class HubThatStops(HubsAnswers):
    """It also starts and stops servers, as JupyterHub does it: through the gateway. `bob` is in the group phd."""

    gateway = ""

    def do_GET(self) -> None:
        user = requests.utils.unquote(self.path.rpartition("/")[2])
        if user == "user" and self.headers.get("Authorization") == f"token {BOB}":
            self._say(200, {"kind": "user", "name": "bob", "groups": ["phd"], "admin": False})
        elif user in dict(PEOPLE.values()):
            groups = {"bob": ["phd"], "prof": ["instructor"]}.get(user, [])
            state = self._state(user)
            there = {"": {"ready": state == "running", "last_activity": None}}
            servers = there if state in ("starting", "running") else {}
            self._say(200, {"kind": "user", "name": user, "groups": groups, "servers": servers})
        else:
            super().do_GET()

    def do_POST(self) -> None:
        body = {"environment": {"STARTED": str(time.time())}}
        self._say(201, self._ask("PUT", body))

    def do_DELETE(self) -> None:
        self._ask("DELETE")
        self._say(202, {})

    def _ask(self, method: str, body: object = None) -> Any:
        user = self.path.split("/")[-2]
        return self._gateway(method, user, body).json()

    def _state(self, user: str) -> str:
        return str(self._gateway("GET", quote(user, safe="")).json().get("state", ""))

    def _gateway(self, method: str, user: str, body: object = None) -> requests.Response:
        headers = {"Authorization": f"token {ADMIN}"}
        return requests.request(method, f"{self.gateway}/users/{user}/notebook", json=body, headers=headers, timeout=90)


def know_gpus() -> None:
    """The pretend hosts' engines are started anew with GPUs as generic resources, one kind each."""
    for number, there in THERE.items():
        known = [f"{kind}={value}" for one in there for kind, value in gpus.resources(one.uuid).items()]
        config = {"node-generic-resources": known}
        for words, stdin in (
            ("mkdir -p /etc/docker && cat >/etc/docker/daemon.json", json.dumps(config).encode()),
            ("pkill -TERM -x dockerd; while pgrep -x dockerd; do sleep 0.2; done", b""),
            ("nohup dockerd >>/var/log/dockerd.log 2>&1 & until docker info >/dev/null; do sleep 0.3; done", b""),
        ):
            code, out, err = Engine.local().exec(gateway_stage.host(number), ["sh", "-c", words], stdin)
            assert code == 0, out + err


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("gpus")
    with gateway_stage.stage(folder, hubs=HubThatStops, before=know_gpus, more=SETTINGS) as made:
        HubThatStops.gateway = f"http://127.0.0.1:{made.port}/services/gateway/api"
        for node in swarm.nodes(made.engine):
            lent = THERE[int(node.hostname[-1])]
            assert gpus.uuids(node.generic) == {one.uuid for one in lent}
            proof = gpus.fingerprint((one.uuid for one in lent), "no card", "no runtime")
            nodes.label(made.engine, node.id, {gpus.LENT: gpus.label(lent), gpus.PROVEN: proof})
        time.sleep(1)
        yield made


@pytest.fixture(autouse=True)
def nobody_holds_any(on: Stage) -> Iterator[None]:
    yield
    for one in on.ask("GET", "/clusters").json():
        on.ask("DELETE", f"/users/{quote(one['owner'], safe='')}/clusters/{one['name']}")
    for of in (HERS, HIS):
        on.ask("DELETE", f"{of}/gpu")
        on.ask("DELETE", f"{of}/notebook?forget=1")
    for one in on.ask("GET", "/gpus/reservations").json():
        on.ask("DELETE", f"/gpus/reservations/{one['id']}")
    wait.until(lambda: assigned(on), lambda seen: not seen, "the swarm to hold none", seconds=40)
    for one in ground.secrets(on.engine, {"occam.course": gateway_stage.COURSE, "occam.kind": "home"}):
        home = one["Spec"]["Name"]
        ground.remove_secret(on.engine, home)
        for number in THERE:
            words = f"docker ps -aq --filter volume={home} | xargs -r docker rm -f; docker volume rm -f {home}"
            Engine.local().exec(gateway_stage.host(number), ["sh", "-c", words])
    left = [(one["uuid"], one["state"], one["holder"]) for one in on.ask("GET", "/gpus").json()]
    assert [one for one in left if one[1] != "free"] == [], "nothing leaked"


def assigned(on: Stage) -> Counter[str]:
    """UUIDs that live tasks hold in the swarm."""
    live = [one for one in swarm.tasks(on.engine) if one.state in swarm.RUNNING_STATES]
    return Counter(uuid for one in live for uuid in gpus.uuids(one.generic))


def start(on: Stage, of: str, gpu: object = None, status: int = 200) -> dict[str, Any]:
    """Start a notebook; what the swarm then assigned to it comes with the answer, in `uuids`."""
    body = {"environment": {"AT": str(time.time())}, **({"gpu": gpu} if gpu is not None else {})}
    answer = on.ask("PUT", f"{of}/notebook", body)
    assert answer.status_code == status, answer.text
    if status != 200:
        return dict(answer.json()["error"])
    seen = on.until(f"{of}/notebook", lambda one: one["state"] in ("running", "failed"), "the notebook")
    assert seen["state"] == "running", seen["message"]
    return seen | {"uuids": uuids(on, seen["service"])}


def uuids(on: Stage, service: str) -> set[str]:
    task = next(one for one in swarm.tasks(on.engine, service_name=service) if one.state == "running")
    return set(gpus.uuids(task.generic))


def give(on: Stage, of: str, gpu: object, token: str = ADMIN, status: int = 200, **more: object) -> dict[str, Any]:
    answer = on.ask("PUT", f"{of}/gpu", {"gpu": gpu, **more}, token)
    assert answer.status_code == status, answer.text
    return dict(answer.json()["error"] if status >= 400 else answer.json())


def held(on: Stage, of: str) -> set[str]:
    return {one["uuid"] for one in on.ask("GET", f"{of}/gpu").json()["gpus"]}


def test_a_notebook_starts_with_the_gpus_that_were_given(on: Stage) -> None:
    made = give(on, HERS, {"count": 2, "model": "A100"}, **{"for": 7200})
    assert (made["host"], made["in_use"], made["message"]) == (
        gateway_stage.host(1),
        False,
        "there when the notebook starts",
    )
    left = datetime.fromisoformat(made["until"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(minutes=120)
    running = start(on, HERS)
    assert running["uuids"] == {"GPU-a0", "GPU-a1"}
    assert running["node"] == gateway_stage.host(1), "its first home was made where the GPUs are"
    assert on.ask("GET", f"{HERS}/gpu", token=ANNA).json()["in_use"]
    listed = {one["uuid"]: one for one in on.ask("GET", "/gpus").json()}
    assert {one["state"] for one in listed.values()} == {"held", "free"}
    assert listed["GPU-a0"]["holder"] == {"kind": "notebook", "who": "students", "user": USER, "cluster": ""}
    seen = {one["uuid"]: one for one in on.ask("GET", "/gpus", token=BOB).json()}
    assert seen["GPU-a0"]["holder"] == {"kind": "notebook", "who": "students"}, "no names for others"
    no = give(on, HIS, "A100", BOB, 409)
    assert "1 GPU A100 is not free: students hold 2 A100-SXM4-40GB until" in no["what"]
    assert no["exit_code"] == 4
    assert USER in give(on, HIS, "A100", status=409)["what"], "the operator may know"


@pytest.mark.parametrize(
    ("gpu", "says"),
    [
        ("H100", "the course has no H100; it has"),
        ({"count": 2, "model": "T4"}, "the course has only 1 such GPU"),
        ({"count": 2, "memory": "24G"}, ""),
        (5, "the course has only 4 such GPUs"),
    ],
)
def test_what_the_course_does_not_have(on: Stage, gpu: object, says: str) -> None:
    if not says:
        assert give(on, "/users/prof", gpu)["host"] == gateway_stage.host(1)  # the twin
        on.ask("DELETE", "/users/prof/gpu")
        return
    no = give(on, "/users/prof", gpu, status=409)
    assert says in no["what"]
    assert no["exit_code"] == 4


def test_a_quota_and_who_may(on: Stage) -> None:
    assert "over the quota of 2 GPUs" in give(on, HERS, 3, ANNA, 409)["what"]
    give(on, HERS, 1, BOB, 403)
    give(on, "/users/course", 1, status=400)
    give(on, "/users/nobody", 1, status=404)
    give(on, HERS, "lots of them", ANNA, 409)
    give(on, HERS, {"colour": "red"}, ANNA, 400)
    give(on, HERS, 1, ANNA, 400, **{"for": 5})
    assert on.ask("POST", "/gpus/reservations", {"group": "phd", "for": 60}, ANNA).status_code == 403
    assert on.ask("POST", "/gpus/reservations", {"group": "none", "for": 60}).status_code == 400
    assert on.ask("DELETE", "/gpus/reservations/none").status_code == 404
    assert on.ask("DELETE", f"{HERS}/gpu", token=BOB).status_code == 403


def test_a_group_of_the_roster_needs_no_quota_for_a_reservation(on: Stage) -> None:
    made = on.ask("POST", "/gpus/reservations", {"group": gateway_stage.GROUP, "gpu": "T4", "for": 600})
    assert made.status_code == 201, made.text


def test_the_owner_cannot_keep_a_gpu_longer_than_it_was_given_for(on: Stage) -> None:
    until = give(on, HERS, "T4", **{"for": 600})["until"]
    assert give(on, HERS, "T4", ANNA)["until"] == until
    assert give(on, HERS, "T4", **{"for": 1200})["until"] > until


def test_a_home_is_where_it_is(on: Stage) -> None:
    start(on, HIS, "T4")
    on.ask("DELETE", f"{HIS}/notebook")
    no = give(on, HIS, "A100", status=409)
    assert f"runs where its home is, on {gateway_stage.host(2)}, which has not 1 GPU A100" in no["what"]
    assert gateway_stage.host(1) in no["what"]


def test_a_home_that_was_never_used_can_be_anywhere(on: Stage) -> None:
    assert give(on, HIS, "T4")["host"] == gateway_stage.host(2)
    on.ask("DELETE", f"{HIS}/gpu")
    assert give(on, HIS, "A100")["host"] == gateway_stage.host(1)
    assert start(on, HIS)["node"] == gateway_stage.host(1)


def test_a_gateway_that_was_killed_knows_who_holds_what(on: Stage) -> None:
    give(on, HERS, "A100", **{"for": 7200})
    start(on, HERS)
    give(on, HIS, "T4")
    body = {"group": "phd", "gpu": "1g.5gb", "from": "2036-10-05T12:00:00Z", "for": 600}
    assert on.ask("POST", "/gpus/reservations", body).status_code == 400, "more than a year away"
    kept = on.ask("POST", "/gpus/reservations", {**body, "from": (datetime.now(UTC) + timedelta(hours=1)).isoformat()})
    assert kept.status_code == 201, kept.text
    before = [on.ask("GET", path).json() for path in ("/gpus", f"{HERS}/gpu", f"{HIS}/gpu", "/gpus/reservations")]
    on.end(signal.SIGKILL)
    on.up()
    after = [on.ask("GET", path).json() for path in ("/gpus", f"{HERS}/gpu", f"{HIS}/gpu", "/gpus/reservations")]
    assert after == before
    assert start(on, HIS)["uuids"] == {"GPU-t"}


def test_a_running_notebook_gives_back_when_it_stops(on: Stage) -> None:
    give(on, HERS, {"count": 2, "model": "A100"})
    start(on, HERS)
    left = on.ask("DELETE", f"{HERS}/gpu", token=ANNA).json()
    assert (left["once"], left["message"]) == (True, "given back when the notebook stops")
    give(on, HIS, "A100", status=409)
    on.end(signal.SIGKILL)
    on.up()
    give(on, HIS, "A100", status=409)
    assert on.ask("DELETE", f"{HERS}/notebook").json()["state"] == "stopped"
    assert held(on, HERS) == set()
    give(on, HIS, "A100")
    assert start(on, HERS)["uuids"] == set(), "it starts without"


def test_a_running_notebook_has_them_after_its_restart(on: Stage) -> None:
    assert start(on, HERS)["uuids"] == set()
    made = give(on, HERS, 1, ANNA)
    assert (made["in_use"], made["message"]) == (False, "there when the notebook is started anew")
    assert assigned(on) == {}
    made = give(on, HERS, 1, ANNA, restart=True)
    assert (made["in_use"], made["message"]) == (True, "the notebook runs with it")
    assert dict(assigned(on)) == {made["gpus"][0]["uuid"]: 1}
    left = on.ask("DELETE", f"{HERS}/gpu?restart=1", token=ANNA).json()
    assert left["gpus"] == []
    assert assigned(on) == {}
    assert on.ask("GET", f"{HERS}/notebook").json()["state"] == "running"


def test_a_choice_at_the_start_page_counts_for_that_start(on: Stage) -> None:
    told = on.ask("GET", f"{HERS}/gpu", token=ANNA).json()
    assert [one["label"] for one in told["choices"]] == [
        "1 GPU of any kind (4 free)",
        "1 A100-SXM4-40GB (2 free)",
        "1 A100-SXM4-40GB MIG 1g.5gb (1 free)",
        "1 Tesla T4 (1 free)",
    ]
    assert start(on, HERS, told["choices"][3]["gpu"])["uuids"] == {"GPU-t"}
    assert "Tesla T4" in start(on, HIS, "T4", 409)["what"]
    assert start(on, HIS)["uuids"] == set()
    on.ask("DELETE", f"{HERS}/notebook")
    assert held(on, HERS) == set()
    assert start(on, HERS)["uuids"] == set()


def test_time_that_is_over_stops_the_notebook_by_way_of_the_hub(on: Stage) -> None:
    give(on, HERS, "A100", ANNA, **{"for": 60})
    start(on, HERS)
    told = on.until(f"{HERS}/gpu", lambda seen: seen["notices"], "the announcement", seconds=20)
    assert told["notices"][0]["text"].startswith("Your notebook is stopped at ")
    gone = on.until(f"{HERS}/gpu", lambda seen: not seen["gpus"], "the end of its time", seconds=90)
    assert on.until(f"{HERS}/notebook", lambda seen: seen["state"] == "stopped", "the end")
    gone = on.until(f"{HERS}/gpu", lambda seen: "given back" in seen["notices"][-1]["text"], "a word of it")
    assert gone["notices"][-1]["text"].endswith("its time is over.")
    give(on, HIS, {"count": 2, "model": "A100"})


def cluster(on: Stage, workers: int) -> dict[str, Any]:
    """Workers of a profile with one GPU each, as Spark asks for them."""
    sizes = {"1": {"cores": 1, "memory": GIB, "gpus": 1}}
    body = {"profiles": {"0": 0, "1": workers}, "sizes": sizes}
    answer = on.ask("PUT", f"{HERS}/clusters/lab/executors", body, ANNA)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def made_cluster(on: Stage) -> None:
    asked = {"name": "lab", "workers": 0, "driver_host": "10.186.4.2", "driver_port": 40000}
    assert on.ask("POST", f"{HERS}/clusters", asked, ANNA).status_code == 201


class Kernel:
    """Keeps a cluster's lease."""

    def __init__(self, on: Stage) -> None:
        self._on, self._over = on, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._over.wait(1):
            with suppress(requests.RequestException):
                self._on.ask("PUT", f"{HERS}/clusters/lab/lease", {"registered": 0, "jobs": True}, ANNA)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def test_workers_and_notebooks_share_and_a_class_has_its_own(on: Stage) -> None:
    start(on, HERS)
    made_cluster(on)
    kernel = Kernel(on)
    try:
        cluster(on, 2)
        wait.until(lambda: assigned(on), lambda seen: len(seen) == 2, "two workers with GPUs", seconds=40)
        assert "over the quota" in give(on, HERS, 1, ANNA, 409)["what"], "its workers count"
        body = {"group": "phd", "gpu": 4, "from": datetime.now(UTC).isoformat(), "for": 600}
        assert on.ask("POST", "/gpus/reservations", body).status_code == 201
        seen = on.until(f"{HERS}/clusters/lab", lambda one: one["wanted"] == 0 and one["notices"], "a word", seconds=30)
        assert "reserved for group phd" in seen["notices"][-1]["text"]
        wait.until(lambda: assigned(on), lambda seen: not seen, "the workers' end", seconds=60)
        assert cluster(on, 2)["granted"]["1"] == 0
        assert "reserved for group phd until" in give(on, HERS, 1, ANNA, 409)["what"]
        give(on, HIS, 1, BOB)
    finally:
        kernel.end()


def test_workers_with_gpus_beside_those_without(on: Stage) -> None:
    main = "/users/course/clusters/main"
    made = on.ask("POST", "/users/course/clusters", {"name": "main", "workers": 1, "driver": "connect"})
    assert made.status_code == 201, made.text
    assert on.ask("PUT", f"{main}/workers", {"workers": 2, "gpu": "A100"}).status_code == 200
    running = lambda one: sum(each["state"] == "running" for each in one["executors"])  # noqa: E731
    seen = on.until(main, lambda one: running(one) == 3, "its workers")
    assert sorted(len(one["gpus"]) for one in seen["executors"]) == [0, 1, 1]
    assert (seen["wanted"], seen["gpu_workers"]) == (3, 2)
    assert set(assigned(on)) == {"GPU-a0", "GPU-a1"}
    no = on.ask("PUT", f"{main}/workers", {"workers": 3, "gpu": "T4"}).json()["error"]
    assert no["what"] == "it has 2 workers with 1 GPU A100 each"
    assert on.ask("PUT", f"{main}/workers", {"workers": 3, "gpu": "A100"}).status_code == 409
    on.end(signal.SIGKILL)
    on.up()
    assert on.ask("GET", main).json()["gpu_workers"] == 2
    assert on.ask("PUT", f"{main}/workers", {"workers": 0, "gpu": "A100"}).status_code == 200
    wait.until(lambda: assigned(on), lambda seen: not seen, "the workers' end", seconds=60)
    assert on.until(main, lambda one: running(one) == 1, "the other worker")["wanted"] == 1


def test_two_hundred_random_deeds_never_give_one_gpu_to_two(on: Stage) -> None:
    """Four people at once, and a look each second: at what the swarm assigned, and at what the gateway says."""
    wrong: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            twice = [uuid for uuid, many in assigned(on).items() if many > 1]
            wrong.extend(f"{uuid} is assigned twice" for uuid in twice)
            listed = on.ask("GET", "/gpus").json()
            holders = Counter(one["uuid"] for one in listed if one["holder"])
            wrong.extend(f"{uuid} is listed twice" for uuid, many in holders.items() if many > 1)

    done: Counter[str] = Counter()

    def person(seed: int) -> None:
        chance, of = random.Random(seed), (HERS, HIS)[seed % 2]
        environment = {"environment": {"SEED": str(seed)}}
        for _ in range(50):
            deed = chance.choice(["assign", "assign", "release", "start", "stop", "scale", "scale", "kill"])
            if deed == "assign":
                answer = on.ask("PUT", f"{of}/gpu", {"gpu": chance.choice([1, 1, 2, "T4"]), "for": 600})
            elif deed == "release":
                answer = on.ask("DELETE", f"{of}/gpu")
            elif deed == "start":
                answer = on.ask("PUT", f"{of}/notebook", environment)
            elif deed == "stop":
                answer = on.ask("DELETE", f"{of}/notebook") if chance.random() < 0.4 else on.ask("GET", "/gpus")
            elif deed == "scale":
                made = {"name": "lab", "workers": 0, "driver_host": "10.186.4.2", "driver_port": 40000}
                on.ask("POST", f"{of}/clusters", made)
                sizes = {"1": {"cores": 1, "memory": GIB, "gpus": 1}}
                body = {"profiles": {"0": 0, "1": chance.randrange(3)}, "sizes": sizes}
                answer = on.ask("PUT", f"{of}/clusters/lab/executors", body)
            else:
                there = on.ask("GET", f"{of}/clusters").json()
                ids = [one["id"] for cluster in there for one in cluster["executors"]][:1]
                answer = on.ask("POST", f"{of}/clusters/lab/executors/kill", {"ids": ids})
            done[f"{deed} {answer.status_code}"] += 1
            if answer.status_code >= 500:
                wrong.append(f"{deed}: {answer.text}")

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(person, range(4)))
    over.set()
    watcher.join()
    assert wrong == []
    assert sum(done.values()) == 200
    assert done["assign 200"], done
    assert done["assign 409"], done
