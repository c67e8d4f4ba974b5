"""Submitted applications on a real swarm: how they end, what is known afterwards, and that nothing else stays.

The light image's driver runs the last argument as a shell script in place of Spark.
"""

from __future__ import annotations

import base64
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from occamctl import wait
from occamctl.engine import swarm
from occamctl.engine.client import Engine

from . import gateway_stage
from .gateway_stage import BOB, COURSE, NAMES, PROF, Stage

pytestmark = [pytest.mark.engine, pytest.mark.light]

PATH = "/users/course/clusters"


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with gateway_stage.stage(tmp_path_factory.mktemp("applications")) as made:
        yield made


def application(script: str) -> dict[str, Any]:
    return {"main": "app.py", "files": {"app.py": base64.b64encode(b"pass").decode()}, "arguments": ["x y", script]}


def submit(on: Stage, name: str, script: str, workers: int = 0) -> None:
    body = {"name": name, "workers": workers, "driver": "application", "application": application(script)}
    answer = on.ask("POST", PATH, body)
    assert answer.status_code == 201, answer.text


def over(on: Stage, name: str, seconds: float = 60) -> dict[str, Any]:
    """The application when it is over."""
    return on.until(f"{PATH}/{name}", lambda seen: seen["state"] in ("finished", "failed"), "its end", seconds)


def left(on: Stage, name: str) -> list[str]:
    return [one for one in on.services("driver") + on.services("executor") + on.secrets() if f"-{name}-" in one]


def container(on: Stage, name: str) -> tuple[int, str]:
    """Number of the host and id of the container of its driver, which runs."""

    def task() -> swarm.Task | None:
        return next(
            (
                one
                for one in swarm.tasks(on.engine, service_name=NAMES.driver("course", name))
                if one.state == "running"
            ),
            None,
        )

    found = wait.until(task, bool, "its driver", seconds=40)
    assert found is not None
    first = next(one.hostname for one in swarm.nodes(on.engine) if one.id == found.node_id) == gateway_stage.host(1)
    return 1 if first else 2, found.container_id


def test_it_ends_with_its_own_exit_code_and_leaves_nothing_but_its_last_words(on: Stage) -> None:
    submit(on, "good", "echo three and four; echo aside >&2", workers=1)
    submit(on, "bad", "echo out of luck; exit 3", workers=1)
    seen = on.until(f"{PATH}/bad", lambda seen: seen["exit_code"] is not None, "the exit code")
    assert seen["exit_code"] == 3
    good, bad = over(on, "good"), over(on, "bad")
    assert (good["state"], good["exit_code"], good["message"]) == ("finished", 0, "")
    assert (bad["state"], bad["exit_code"]) == ("failed", 3)
    assert "ended with exit code 3\n  out of luck" in bad["message"]
    assert left(on, "good") + left(on, "bad") == []
    text = on.ask("GET", f"{PATH}/good/logs?worker=driver").json()["text"]
    assert sorted(text.splitlines()) == ["driver: aside", "driver: three and four"]
    quota = on.ask("GET", "/users/course/quota").json()
    assert (quota["workers"]["held"], quota["memory"]["held"], quota["clusters"]["held"]) == (0, 0, 0)
    submit(on, "bad", "true")  # a name whose application is over is free
    assert over(on, "bad")["exit_code"] == 0
    for name in ("good", "bad"):
        assert on.ask("DELETE", f"{PATH}/{name}").status_code == 200
        assert on.ask("GET", f"{PATH}/{name}").status_code == 404


def test_students_submit_nothing_and_instructors_do(on: Stage) -> None:
    body = {"name": "mine", "workers": 0, "driver": "application", "application": application("true")}
    assert on.ask("POST", "/users/bob/clusters", body, BOB).status_code == 403
    assert on.ask("POST", PATH, body, BOB).status_code == 403
    assert on.ask("POST", PATH, body | {"application": None}).status_code == 400
    assert on.ask("POST", PATH, body | {"workers": 99}, PROF).status_code == 409
    assert on.ask("POST", PATH, body, PROF).status_code == 201
    assert on.ask("DELETE", f"{PATH}/mine", token=PROF).status_code == 200


def test_one_that_is_killed_has_failed(on: Stage) -> None:
    submit(on, "killed", "sleep 600", workers=1)
    number, victim = container(on, "killed")
    assert Engine.local().exec(gateway_stage.host(number), ["docker", "kill", victim])[0] == 0
    seen = over(on, "killed")
    assert (seen["state"], seen["exit_code"]) == ("failed", 137)
    assert left(on, "killed") == []


def test_one_whose_workers_never_start_ends_with_them(on: Stage) -> None:
    submit(on, "broken", "sleep 600", workers=1)  # its executors have no luck in the light image
    seen = over(on, "broken")
    assert (seen["state"], seen["exit_code"]) == ("failed", None)
    assert "out of luck" in seen["message"]
    assert left(on, "broken") == []


def test_one_that_is_deleted_while_it_runs_is_gone(on: Stage) -> None:
    submit(on, "long", "sleep 600", workers=1)
    number, victim = container(on, "long")
    assert on.ask("DELETE", f"{PATH}/long").status_code == 200
    assert left(on, "long") == []
    assert on.ask("GET", f"{PATH}/long").status_code == 404
    assert Engine.local().exec(gateway_stage.host(number), ["docker", "top", victim])[0] != 0


def test_its_workers_are_not_replaced_when_its_spark_session_has_ended(on: Stage) -> None:
    submit(on, "after", "sleep 600", workers=1)
    seen = on.until(
        f"{PATH}/after", lambda seen: [one["state"] for one in seen["executors"]] == ["running"], "a worker"
    )
    on.ask("PUT", f"{PATH}/after/lease", {"registered": 1, "jobs": False})
    number = int(seen["executors"][0]["id"])
    (task,) = swarm.tasks(on.engine, service_name=NAMES.executor("course", "after", number))
    for host in (1, 2):
        Engine.local().exec(gateway_stage.host(host), ["docker", "kill", "-s", "TERM", task.container_id])
    on.until(f"{PATH}/after", lambda seen: [one["state"] for one in seen["executors"]] == ["lost"], "its end")
    time.sleep(4)
    assert on.services("executor") == []
    on.ask("PUT", f"{PATH}/after/lease", {"registered": 0, "jobs": False})  # the twin: it goes on with Spark
    wait.until(lambda: on.services("executor"), lambda many: len(many) == 1, "another worker", seconds=20)
    assert on.ask("DELETE", f"{PATH}/after").status_code == 200


def test_a_gateway_that_is_killed_meanwhile_still_tells_the_exit_code(on: Stage) -> None:
    submit(on, "short", "sleep 2; exit 5")
    submit(on, "longer", "sleep 12; exit 7", workers=1)
    container(on, "longer")
    on.end(signal.SIGKILL)
    time.sleep(3)
    on.up()
    assert over(on, "short")["exit_code"] == 5
    assert over(on, "longer")["exit_code"] == 7
    assert left(on, "short") + left(on, "longer") == []
    assert "Traceback" not in on.log


def test_what_it_is_called_with_shows_on_no_engine(on: Stage) -> None:
    submit(on, "secret", "sleep 600; : my-password")
    number, running = container(on, "secret")
    shown = Engine.local().exec(gateway_stage.host(number), ["docker", "inspect", running])[1].decode()
    shown += str(swarm.services(on.engine, {"occam.course": COURSE}))
    assert "my-password" not in shown + on.log
    assert "occam-driver" in shown  # the twin
    assert on.ask("DELETE", f"{PATH}/secret").status_code == 200
