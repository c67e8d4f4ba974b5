"""The gateway as a process against a real swarm of two hosts; a light image stands for the notebook image."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
import requests

from occamctl import wait
from occamctl.engine import ground, swarm
from occamctl.engine.client import Engine

from . import gateway_stage
from .gateway_stage import ADMIN, ANNA, BOB, COURSE, LEASE, NAMES, PEOPLE, PROF, QUOTA, Stage

pytestmark = [pytest.mark.engine, pytest.mark.light]

USER = PEOPLE[ANNA][0]
HERS = f"/users/{quote(USER, safe='')}"
LAB = f"{HERS}/clusters/lab"
ENVIRONMENT = {"JUPYTERHUB_API_TOKEN": "hubs-own-token-for-anna", "JUPYTERHUB_USER": USER}


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with gateway_stage.stage(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture
def notebook(on: Stage) -> dict[str, Any]:
    """Anna's notebook, running."""
    assert on.ask("PUT", f"{HERS}/notebook", {"environment": ENVIRONMENT}).status_code == 200
    return on.until(f"{HERS}/notebook", lambda seen: seen["state"] == "running", "the notebook")


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What the last creation of Anna's cluster answered; its secret is never told again."""
    return {}


class Kernel:
    """Renews the lease of a cluster while it is alive, as the notebook's library does."""

    def __init__(self, on: Stage, path: str = LAB) -> None:
        self._on, self._path, self._dead = on, path, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._dead.wait(1):
            with suppress(requests.RequestException):
                self._on.ask("PUT", f"{self._path}/lease", {"registered": 2, "jobs": False}, ANNA)

    def die(self) -> None:
        self._dead.set()
        self._thread.join()


@pytest.fixture
def kernel(on: Stage) -> Iterator[Kernel]:
    made = Kernel(on)
    yield made
    made.die()


@pytest.fixture
def lab(on: Stage, notebook: dict[str, Any], answers: dict[str, Any], kernel: Kernel) -> dict[str, Any]:
    """A cluster of two workers, as the student's library asks for it; the one that a test before left, if it did."""

    def there() -> int:
        if (seen := on.ask("PUT", f"{LAB}/workers", {"workers": 2}, ANNA)).status_code == 200:
            return seen.status_code
        made = on.ask("POST", f"{HERS}/clusters", wish("lab", 2), ANNA)
        if made.status_code == 201:
            answers.update(made.json())
        return made.status_code

    # The one before may just be ending: then its name is still taken.
    wait.until(there, lambda status: status in (200, 201), "a cluster", seconds=30)
    on.until(LAB, all_run(2), "two workers")
    return answers


def wish(name: str, workers: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "workers": workers, "driver_host": "10.186.4.2", "driver_port": 40000, "kernel": "k", **more}


def all_run(many: int) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: (
        [one["state"] for one in seen["executors"]].count("running") == many and seen["state"] == "running"
    )


def beat(on: Stage, registered: int = 2) -> dict[str, Any]:
    answer: dict[str, Any] = on.ask("PUT", f"{LAB}/lease", {"registered": registered, "jobs": False}, ANNA).json()
    return answer


def ids(seen: dict[str, Any], state: str = "running") -> set[str]:
    return {one["id"] for one in seen["executors"] if one["state"] == state}


def test_a_notebook_keeps_home_and_host_over_a_stop(on: Stage, notebook: dict[str, Any]) -> None:
    same = on.ask("PUT", f"{HERS}/notebook", {"environment": ENVIRONMENT}).json()
    assert (same["state"], same["since"]) == ("running", notebook["since"])  # asked twice, started once
    service = notebook["service"]
    first = labels(on, service)
    wait.until(
        lambda: labels(on, service)["occam.home.state"], lambda seen: seen == "kept", "a home that was used", seconds=20
    )
    assert on.ask("DELETE", f"{HERS}/notebook").json()["state"] == "stopped"
    assert not [one for one in swarm.tasks(on.engine, service_name=service) if one.state in swarm.RUNNING_STATES]
    again = {"environment": {**ENVIRONMENT, "JUPYTERHUB_API_TOKEN": "another"}}
    both = [{"environment": {**ENVIRONMENT, "JUPYTERHUB_API_TOKEN": "at the same time"}}, again]
    with ThreadPoolExecutor(2) as pool:  # one of them ends what the other has started
        answers = pool.map(lambda body: on.ask("PUT", f"{HERS}/notebook", body).status_code, both)
        assert list(answers) == [200, 200]
    seen = on.until(f"{HERS}/notebook", lambda seen: seen["state"] == "running", "the notebook")
    assert seen["node"] == notebook["node"]
    assert labels(on, service)["occam.home"] == first["occam.home"]
    assert len([name for name in on.secrets() if "-env-" in name]) == 1


def labels(on: Stage, service: str) -> dict[str, str]:
    there = swarm.service(on.engine, service)
    assert there is not None
    return dict(there["Spec"]["Labels"])


@pytest.mark.soak
def test_what_is_stopped_while_it_starts_ends(on: Stage) -> None:
    """Now and then the swarm forgets one that is scaled down in the moment in which its task changes."""
    chance = random.Random(7)
    for number in range(100):
        begun = time.monotonic()
        environment = {"environment": {"X": str(number)}}
        assert on.ask("PUT", "/users/bob/notebook", environment).status_code == 200
        wait.nap(chance.choice([0, 0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4]))
        assert on.ask("DELETE", "/users/bob/notebook").status_code == 200
        assert time.monotonic() - begun < 30, number
    print(on.log.count("telling the swarm again"), "of 100 were forgotten")


def test_a_start_that_fails_says_the_containers_words(on: Stage) -> None:
    on.ask("PUT", "/users/bob/notebook", {"environment": {"X": "BREAK"}})
    seen = on.until("/users/bob/notebook", lambda seen: seen["state"] == "failed", "the failure")
    assert "this is not the home it should be" in seen["message"]
    assert "exit 78" in seen["message"]
    on.ask("PUT", "/users/bob/notebook", {"environment": {"X": "fine"}})
    on.until("/users/bob/notebook", lambda seen: seen["state"] == "running", "the next start")
    assert on.ask("DELETE", "/users/bob/notebook?forget=1").status_code == 200
    assert on.ask("GET", "/users/bob/notebook").status_code == 404
    home = list(ground.secrets(on.engine, {"occam.course": COURSE, "occam.kind": "home"}))
    assert [one["Spec"]["Name"] for one in home] == [NAMES.home("bob")]  # where the home is stays known


def test_workers_go_to_different_hosts_and_leave_nothing(on: Stage, lab: dict[str, Any]) -> None:
    assert lab["secret"]
    assert lab["conf"]["spark.occam.app.id"] == lab["app_id"]
    assert len({one["node"] for one in lab["executors"]}) == 2
    assert len(on.services("executor")) == 2
    assert on.ask("DELETE", LAB, token=ANNA).status_code == 200
    assert on.services("executor") == []
    assert [name for name in on.secrets() if "-lab-" in name] == []
    assert on.ask("GET", LAB, token=ANNA).status_code == 404


def test_secrets_are_nowhere_to_be_seen(on: Stage, lab: dict[str, Any]) -> None:
    seen = json.dumps(swarm.services(on.engine, {"occam.course": COURSE}), default=str)
    for secret in (lab["secret"], lab["token"], *ENVIRONMENT.values(), ADMIN, ANNA):
        if secret != USER:
            assert secret not in seen
            assert secret not in on.log
    assert {"secret", "token"}.isdisjoint(on.ask("GET", LAB, token=ANNA).json())
    assert USER in seen  # the twin: what may be seen is there


@pytest.mark.parametrize(
    ("token", "method", "path", "status"),
    [
        (ANNA, "GET", f"{HERS}/clusters", 200),
        (BOB, "GET", f"{HERS}/clusters", 403),
        ("nobody", "GET", f"{HERS}/clusters", 401),
        (ANNA, "GET", "/status", 403),
        (ADMIN, "GET", "/status", 200),
        (ANNA, "PUT", f"{HERS}/notebook", 403),
        (ANNA, "DELETE", f"{HERS}/notebook", 403),
        (BOB, "PUT", f"{LAB}/workers", 403),
        (BOB, "DELETE", LAB, 403),
        (BOB, "PUT", f"{LAB}/lease", 403),
        (BOB, "POST", "/users/course/clusters", 403),
        (PROF, "GET", "/users/course/clusters", 200),
        (PROF, "DELETE", f"{HERS}/clusters/none", 404),  # allowed, if there were one
        (BOB, "DELETE", f"{HERS}/clusters/none", 403),
        (PROF, "PUT", f"{HERS}/clusters/none/workers", 400),
        (PROF, "PUT", f"{HERS}/clusters/none/lease", 403),
        (PROF, "PUT", f"{HERS}/clusters/none/executors", 403),
        (PROF, "POST", f"{HERS}/clusters", 403),
        (ADMIN, "GET", "/users/nobody/quota", 404),
        (ADMIN, "GET", "/nowhere", 404),
    ],
)
def test_everybody_acts_in_their_own_name(on: Stage, token: str, method: str, path: str, status: int) -> None:
    answer = on.ask(method, path, {} if method != "GET" else None, token)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.json()["error"]["what"]


def test_a_drivers_token_sizes_its_own_cluster_and_nothing_else(on: Stage, lab: dict[str, Any]) -> None:
    other = on.ask("POST", f"{HERS}/clusters", wish("other", 0), ANNA).json()
    asked = [
        ("PUT", f"{LAB}/lease", {"registered": 2, "jobs": False}, 200),
        ("PUT", f"{LAB}/executors", {"total": 2}, 200),
        ("POST", f"{LAB}/executors/kill", {"ids": []}, 200),
        ("PUT", f"{LAB}/workers", {"workers": 3}, 401),
        ("PUT", f"{LAB}/adaptive", {"min": 1, "max": 2}, 401),
        ("GET", LAB, None, 401),
        ("GET", f"{LAB}/logs", None, 401),
        ("PUT", f"{HERS}/clusters/other/lease", {"registered": 0, "jobs": False}, 401),
        ("PUT", f"{HERS}/clusters/other/executors", {"total": 1}, 401),
        ("DELETE", f"{HERS}/clusters/other", None, 401),
        ("POST", f"{HERS}/clusters", wish("more", 1), 401),
        ("GET", f"{HERS}/clusters", None, 401),
        ("GET", f"{HERS}/quota", None, 401),
        ("GET", f"{HERS}/notebook", None, 401),
        ("PUT", f"{HERS}/notebook", {"environment": {}}, 401),
        ("POST", "/users/course/clusters/main/join", None, 401),
        ("GET", "/status", None, 401),
    ]
    for method, path, body, status in asked:
        answer = on.ask(method, path, body, lab["token"])
        assert answer.status_code == status, (method, path, answer.text)
    beaten = on.ask("PUT", f"{HERS}/clusters/other/lease", {"registered": 0, "jobs": False}, other["token"])
    assert beaten.status_code == 200, "its own driver's token does"
    assert on.ask("DELETE", f"{HERS}/clusters/other?app_id={other['app_id']}", token=other["token"]).status_code == 200
    assert on.ask("PUT", f"{LAB}/lease", {"registered": 2, "jobs": False}, other["token"]).status_code == 401


def test_a_killed_worker_is_replaced_with_a_new_number(on: Stage, lab: dict[str, Any]) -> None:
    before = ids(on.ask("GET", LAB).json())
    lost = min(before)
    victim = swarm.tasks(on.engine, service_name=NAMES.executor(USER, "lab", int(lost)))[0]
    number = 1 if hostname(on, victim.node_id) == gateway_stage.host(1) else 2
    inside(number, ["docker", "kill", victim.container_id])
    seen = on.until(LAB, lambda seen: lost not in ids(seen) and len(ids(seen)) == 2, "a replacement")
    (new,) = ids(seen) - before
    assert int(new) > max(int(one) for one in before)
    nodes = {one["id"]: one["node"] for one in seen["executors"]}
    assert nodes[new] != nodes[lost], "on another host, since there is room"
    assert "exit 137" in next(one["message"] for one in seen["executors"] if one["id"] == lost)
    assert NAMES.executor(USER, "lab", int(lost)) not in on.services("executor")


def hostname(on: Stage, node: str) -> str:
    return next(one.hostname for one in swarm.nodes(on.engine) if one.id == node)


def inside(number: int, command: list[str]) -> None:
    code, _, err = Engine.local().exec(gateway_stage.host(number), command)
    assert code == 0, err


def test_a_start_that_fails_ends_whole_and_says_why(on: Stage, notebook: dict[str, Any]) -> None:
    assert on.ask("POST", f"{HERS}/clusters", wish("broken", 1), ANNA).status_code == 201
    seen = on.until(f"{HERS}/clusters/broken", lambda seen: seen["state"] == "failed", "the failure")
    assert "out of luck" in seen["message"]
    assert [name for name in on.services("executor") + on.secrets() if "-broken-" in name] == []
    held = [one["wanted"] for one in on.ask("GET", f"{HERS}/clusters").json() if one["name"] != "broken"]
    assert on.ask("GET", f"{HERS}/quota", token=ANNA).json()["workers"]["held"] == sum(held)
    on.ask("DELETE", f"{HERS}/clusters/broken", token=ANNA)


def test_refusals_come_at_once_with_numbers(on: Stage, lab: dict[str, Any]) -> None:
    began = time.monotonic()
    over = on.ask("POST", f"{HERS}/clusters", wish("more", 2), ANNA)
    assert (over.status_code, over.json()["error"]["exit_code"]) == (409, 4)
    assert "over the quota of 3, 2 held by other clusters; 1 would do" in over.json()["error"]["what"]
    huge = on.ask("POST", f"{HERS}/clusters", wish("more", 1, cores=64), ANNA)
    assert huge.status_code == 409
    assert time.monotonic() - began < 3
    none = on.ask("POST", f"{HERS}/clusters", {**wish("more", 1), "gpu": 9}, ANNA)
    assert "no host of this course has a GPU" in none.json()["error"]["what"], "which is more than a quota's word"
    assert on.ask("POST", f"{HERS}/clusters", wish("lab", 1, kernel="other"), ANNA).status_code == 409
    assert on.ask("PUT", f"{LAB}/workers", {"workers": QUOTA}, ANNA).status_code == 200  # the twin
    on.until(LAB, all_run(QUOTA), "three workers")


def test_spark_scales_and_gives_back(on: Stage, lab: dict[str, Any]) -> None:
    assert on.ask("PUT", f"{LAB}/executors", {"total": 3}, ANNA).json()["wanted"] == 3
    before = ids(on.until(LAB, all_run(3), "three workers"))
    middle = sorted(before, key=int)[1]
    on.ask("POST", f"{LAB}/executors/kill", {"ids": [middle, "9999"]}, ANNA)
    seen = on.ask("PUT", f"{LAB}/executors", {"total": 2}, ANNA).json()
    assert ids(seen) == before - {middle}
    assert on.ask("POST", f"{LAB}/executors/kill", {"ids": [1]}, ANNA).status_code == 400


def test_a_driver_that_ends_late_ends_only_its_own(on: Stage, lab: dict[str, Any]) -> None:
    assert on.ask("DELETE", f"{LAB}?app_id=app-before", token=ANNA).status_code == 404
    assert on.ask("GET", f"{LAB}?app_id={lab['app_id']}", token=ANNA).json()["state"] != "stopping"
    assert on.ask("DELETE", f"{LAB}?app_id={lab['app_id']}", token=ANNA).status_code == 200


def test_a_gateway_that_is_killed_forgets_nothing(on: Stage, lab: dict[str, Any], kernel: Kernel) -> None:
    kernel.die()
    before = ids(beat(on))
    on.end(signal.SIGKILL)
    time.sleep(LEASE)  # nobody could be heard meanwhile
    on.up()
    seen = on.ask("GET", LAB, token=ANNA).json()
    assert (seen["wanted"], ids(seen) | ids(seen, "pending")) == (2, before)
    assert seen["app_id"] == lab["app_id"]
    assert seen["lease_left"] > LEASE  # a whole grace period
    assert on.ask("PUT", f"{LAB}/workers", {"workers": 3}, ANNA).json()["wanted"] == 3
    assert ids(on.until(LAB, all_run(3), "three workers")) > before


def test_silence_ends_a_cluster_and_heartbeats_keep_it(on: Stage, lab: dict[str, Any], kernel: Kernel) -> None:
    time.sleep(LEASE + 2)
    assert on.ask("GET", LAB).json()["state"] == "running"
    kernel.die()
    wait.until(
        lambda: on.ask("GET", LAB).status_code, lambda status: status == 404, "the lease's end", seconds=LEASE + 30
    )
    assert on.services("executor") == []


def test_a_cluster_ends_with_its_notebook(on: Stage, lab: dict[str, Any]) -> None:
    on.ask("DELETE", f"{HERS}/notebook")
    wait.until(lambda: on.ask("GET", LAB).status_code, lambda status: status == 404, "the cluster's end", seconds=40)
    assert on.services("executor") == []


def test_the_courses_own_cluster_has_a_driver_and_no_lease(on: Stage) -> None:
    main = "/users/course/clusters/main"
    made = on.ask("POST", "/users/course/clusters", {"name": "main", "workers": 1, "driver": "connect"})
    assert made.status_code == 201, made.text
    assert "secret" not in made.json()
    starting = on.until(main, lambda seen: ids(seen) == {"0"}, "its worker's container")
    assert starting["state"] == "starting"  # a container is not yet a worker that Spark counts
    register(on, 1)
    seen = on.until(main, all_run(1), "the course's cluster")
    assert seen["lease_left"] is None
    assert seen["connect_url"] == f"sc://tasks.{NAMES.driver('course', 'main')}:15002"
    on.ask("PUT", f"{main}/workers", {"workers": 3})
    register(on, 3)
    on.until(main, all_run(3), "three workers")
    assert on.ask("PUT", f"{main}/workers", {"workers": 5}).status_code == 409
    assert on.ask("DELETE", main).status_code == 200
    assert on.services("driver") + on.services("executor") == []
    assert NAMES.net("course") not in networks(on)


def networks(on: Stage) -> list[str]:
    return [one["Name"] for one in ground.networks(on.engine)]


def test_a_network_goes_with_the_last_that_uses_it(on: Stage, lab: dict[str, Any]) -> None:
    body = {"name": "broken", "workers": 1, "driver": "connect"}
    assert on.ask("POST", "/users/prof/clusters", {**body, "name": "mine"}).status_code == 201
    assert NAMES.net("prof") in networks(on)
    assert on.ask("DELETE", "/users/prof/clusters/mine").status_code == 200
    assert NAMES.net("prof") not in networks(on), "the professor has no notebook"
    assert on.ask("POST", "/users/course/clusters", body).status_code == 201
    on.until("/users/course/clusters/broken", lambda seen: seen["state"] == "failed", "the failure")
    wait.until(lambda: networks(on), lambda seen: NAMES.net("course") not in seen, "the network's end", seconds=20)
    assert on.ask("DELETE", "/users/course/clusters/broken").status_code == 200
    assert on.ask("DELETE", LAB, token=ANNA).status_code == 200
    assert NAMES.net(USER) in networks(on), "her notebook uses it"


def register(on: Stage, many: int) -> None:
    """What a driver says of itself."""
    answer = on.ask("PUT", "/users/course/clusters/main/lease", {"registered": many, "jobs": False})
    assert answer.json()["registered"] == many


def test_a_lost_host_costs_workers_but_no_home(on: Stage, lab: dict[str, Any], notebook: dict[str, Any]) -> None:
    """Anna's notebook is on the other host than Bob's, which is lost."""
    on.ask("PUT", "/users/bob/notebook", {"environment": {}})
    his = on.until("/users/bob/notebook", lambda seen: seen["state"] == "running", "bob's notebook")
    if his["node"] == gateway_stage.host(1):
        pytest.skip("bob's home is on the manager: it cannot be lost here")
    local = Engine.local()
    local.api.kill(gateway_stage.host(2))
    try:
        seen = on.until(
            "/users/bob/notebook", lambda seen: seen["state"] == "failed", "the loss of bob's host", seconds=40
        )
        assert f"your host {gateway_stage.host(2)} is down; your files are safe on it" in seen["message"]
        again = on.ask("PUT", "/users/bob/notebook", {"environment": {"again": "1"}}).json()
        assert (again["state"], again["node"]) == ("failed", gateway_stage.host(2))  # never an empty home elsewhere

        def moved(seen: dict[str, Any]) -> bool:
            return {one["node"] for one in seen["executors"] if one["state"] == "running"} == {gateway_stage.host(1)}

        on.until(LAB, lambda seen: moved(seen) and len(ids(seen)) == 2, "both workers", seconds=40)
    finally:
        local.api.start(gateway_stage.host(2))
    wait.until(lambda: sum(one.usable for one in swarm.nodes(on.engine)), lambda many: many == 2, "host 2", seconds=60)
    on.ask("PUT", "/users/bob/notebook", {"environment": {"again": "2"}})
    seen = on.until("/users/bob/notebook", lambda seen: seen["state"] == "running", "bob's notebook", seconds=60)
    assert seen["node"] == gateway_stage.host(2)


@pytest.fixture
def bobs(on: Stage) -> Iterator[str]:
    """The path of a cluster of Bob's, whose notebook runs; both are gone at the end."""
    on.ask("PUT", "/users/bob/notebook", {"environment": {"fair": "share"}})
    on.until("/users/bob/notebook", lambda seen: seen["state"] == "running", "bob's notebook", seconds=60)
    yield "/users/bob/clusters/his"
    on.ask("DELETE", "/users/bob/clusters/his", token=BOB)
    on.ask("DELETE", "/users/bob/notebook")


def test_within_the_guarantee_borrowed_workers_come_back(on: Stage, lab: dict[str, Any], bobs: str) -> None:
    """Both hosts together take four workers: three are Anna's, of which one is borrowed."""
    on.ask("PUT", f"{LAB}/workers", {"workers": 3}, ANNA)
    on.until(LAB, all_run(3), "three workers of Anna")
    told = [one["number"] for one in on.ask("GET", LAB, token=ANNA).json()["notices"]]
    made = on.ask("POST", "/users/bob/clusters", wish("his", 2), BOB)
    assert made.status_code == 201, made.text
    on.until(bobs, lambda seen: len(ids(seen)) == 2, "two workers of Bob")
    hers = on.until(LAB, lambda seen: len(ids(seen)) == 2, "two workers of Anna")
    assert hers["wanted"] == 2
    news = [one["text"] for one in hers["notices"] if one["number"] not in told]
    assert len(news) == 1
    assert news[0].startswith("one of your workers goes back")
    assert "taken back for bob" in on.log
    # Bob's third would be borrowed, and nobody gives back for that.
    more = on.ask("PUT", f"{bobs}/workers", {"workers": 3}, BOB)
    assert more.status_code == 409
    assert "held: students 2 workers" in more.json()["error"]["what"]
    quota = on.ask("GET", "/users/bob/quota", token=BOB).json()
    assert quota["workers"] == {"limit": 3, "held": 2, "guarantee": 2, "free_on_hosts": 0}
    assert quota["memory"]["held"] == (1 << 30) + 2 * (768 << 20)  # the notebook, and two workers


def test_who_waits_has_a_place_and_a_turn(on: Stage, lab: dict[str, Any], bobs: str) -> None:
    on.ask("PUT", f"{LAB}/workers", {"workers": 3}, ANNA)
    path, asked = "/users/bob/clusters", wish("his", 3, wait=60)
    first = on.ask("POST", path, asked, BOB)
    assert first.status_code == 202, first.text
    queued = first.json()["queued"]
    assert (queued["position"], queued["of"]) == (1, 1)
    assert "do not fit on the hosts now, 2 would" in queued["message"]  # which are guaranteed; one has room
    # One worker has room, but the course would be next in turn only.
    second = on.ask("POST", "/users/course/clusters", {"name": "next", "workers": 1, "driver": "connect", "wait": 60})
    assert second.json()["queued"]["position"] == 2
    assert (
        on.ask("POST", "/users/course/clusters", {"name": "now", "workers": 1, "driver": "connect"}).status_code == 409
    )
    # Who has a cluster takes no worker that becomes free before him either.
    assert on.ask("PUT", f"{LAB}/workers", {"workers": 2}, ANNA).status_code == 200
    overtaking = on.ask("PUT", f"{LAB}/workers", {"workers": 3}, ANNA)
    assert overtaking.status_code == 409
    assert "2 requests wait for room on the hosts already" in overtaking.json()["error"]["what"]
    again = on.ask("POST", path, asked | {"ticket": queued["ticket"]}, BOB)
    assert again.json()["queued"]["ticket"] == queued["ticket"]
    on.ask("PUT", f"{LAB}/workers", {"workers": 1}, ANNA)
    wait.until(
        lambda: on.ask("POST", path, asked | {"ticket": queued["ticket"]}, BOB).status_code,
        lambda status: status == 201, "Bob's turn", seconds=40, every=1,
    )  # fmt: skip
    ticket = second.json()["queued"]["ticket"]
    assert on.ask("DELETE", f"/users/course/queue/{ticket}", token=BOB).status_code == 403
    assert on.ask("DELETE", f"/users/course/queue/{ticket}").status_code == 200
    never = on.ask("POST", path, wish("never", 9, wait=60), BOB)
    assert never.status_code == 409  # no waiting brings more than the quota


def test_an_adaptive_cluster_gets_what_there_is_between_its_bounds(on: Stage, notebook: dict[str, Any]) -> None:
    path = f"{HERS}/clusters/auto"
    on.ask("DELETE", LAB, token=ANNA)
    made = on.ask("POST", f"{HERS}/clusters", wish("auto", 1, adaptive=[1, 3], kernel="a"), ANNA)
    assert made.json()["conf"]["spark.dynamicAllocation.enabled"] == "true", made.text
    kernel = Kernel(on, path)
    assert on.ask("PUT", f"{path}/executors", {"total": 9}, ANNA).json()["granted"] == {"0": 3}
    sizes = {"1": {"cores": 1, "memory": 768 << 20, "gpus": 0}}
    body = {"total": 2, "profiles": {"0": 1, "1": 1}, "sizes": sizes}

    def granted() -> dict[str, Any]:
        """As Spark's backend, ask until all is granted: what is given back is free when its containers have ended."""
        answer: dict[str, Any] = on.ask("PUT", f"{path}/executors", body, ANNA).json()
        return answer

    seen = wait.until(granted, lambda one: one["granted"] == {"0": 1, "1": 1}, "both profiles", seconds=40, every=1)
    profiles = [one["profile"] for one in seen["executors"] if one["state"] != "lost"]
    assert sorted(profiles) == ["0", "1"]
    adapted = lambda: on.ask("PUT", f"{path}/adaptive", {"min": 2, "max": 2}, ANNA).json()  # noqa: E731
    wait.until(adapted, lambda one: one.get("adaptive") == [2, 2], "room for the third worker", seconds=40, every=1)
    assert on.ask("PUT", f"{path}/adaptive", {"min": 3, "max": 2}, ANNA).status_code == 400
    assert on.ask("PUT", f"{path}/adaptive", {"min": 99, "max": 99}, ANNA).status_code == 409
    assert on.ask("GET", path, token=ANNA).json()["adaptive"] == [2, 2], "what was refused is not half done"
    assert on.ask("PUT", f"{path}/workers", {"workers": 5}).json()["adaptive"] == [2, 5], "from outside it is the most"
    assert on.ask("PUT", f"{path}/workers", {"workers": 2}).json()["adaptive"] == [2, 2]
    there = on.until(path, lambda seen: len(ids(seen)) == 3, "two and one workers")
    text = on.ask("GET", f"{path}/logs?tail=5", token=ANNA).json()["text"]
    assert {line.partition(":")[0] for line in text.splitlines()} <= {one["id"] for one in there["executors"]}
    assert on.ask("GET", f"{path}/logs", token=BOB).status_code == 403
    kernel.die()
    assert on.ask("DELETE", path, token=ANNA).status_code == 200


def test_quotas_hold_under_twenty_threads_and_a_killed_gateway(on: Stage, notebook: dict[str, Any]) -> None:
    stop, granted, refused, wrong = threading.Event(), [0], [0], list[str]()

    def student(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            name = chance.choice(["p", "q", "r"])
            path = f"{HERS}/clusters/{name}"
            try:
                if chance.random() < 0.5:
                    body = wish(name, chance.randrange(1, 5), kernel="")
                    status = on.ask("POST", f"{HERS}/clusters", body, ANNA).status_code
                elif chance.random() < 0.7:
                    status = on.ask("PUT", f"{path}/workers", {"workers": chance.randrange(5)}, ANNA).status_code
                else:
                    status = on.ask("DELETE", path, token=ANNA).status_code
                granted[0] += status < 300
                refused[0] += status == 409
                if status >= 500 and status != 504:
                    wrong.append(f"status {status}")
            except requests.RequestException:
                time.sleep(0.2)

    def watch() -> None:
        over = 0
        while not stop.wait(0.2):
            many = len(on.services("executor"))
            # A removal and a creation cross within one look of ours; more than that would be a broken quota.
            over = over + 1 if many > QUOTA else 0
            if over > 3:
                wrong.append(f"{many} executors")

    threads = [threading.Thread(target=student, args=(seed,)) for seed in range(20)] + [threading.Thread(target=watch)]
    for one in threads:
        one.start()
    for _ in range(2):
        time.sleep(5)
        on.end(signal.SIGKILL)
        on.up()
    time.sleep(4)
    stop.set()
    for one in threads:
        one.join()
    assert not wrong
    assert granted[0] > 20
    assert refused[0] > 20

    def settled() -> bool:
        there = on.ask("GET", f"{HERS}/clusters", token=ANNA).json()
        wanted = sum(one["wanted"] for one in there if one["state"] in ("starting", "running"))
        return (
            wanted <= QUOTA
            and len(on.services("executor")) == wanted
            and all(one["state"] == "running" for one in there)
        )

    wait.until(settled, bool, "engine and ledger to agree", seconds=60)
    for one in on.ask("GET", f"{HERS}/clusters", token=ANNA).json():
        assert on.ask("DELETE", f"{HERS}/clusters/{one['name']}", token=ANNA).status_code == 200
    assert on.services("executor") == []
    # A request of the killed gateway may reach the engine after its successor looked; what it made is found later.
    wait.until(
        lambda: [name for name in on.secrets() if "-args-" in name],
        lambda seen: seen == [],
        "secrets that belong to no cluster to go",
        seconds=60,
    )


def test_it_ends_in_order(on: Stage) -> None:
    assert on.end() == 0
    assert "Traceback" not in on.log
    on.up()
