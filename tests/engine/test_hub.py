"""The hub as its image runs it, behind the real proxy; the gateway is a stand-in that starts small real servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest
import requests

from occamctl import wait
from occamctl.actions.student import SignInFailed, Student
from occamctl.errors import OccamError

from . import hub_stage
from .hub_stage import Stage

pytestmark = pytest.mark.engine

AWKWARD = ("Anna.Rossi", "bo_b@unito.it", "a+b-c", "007")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with hub_stage.on(tmp_path_factory.mktemp("hub")) as made:
        made.put(
            *({"username": name, "password": f"pass of {name}", "role": "student"} for name in AWKWARD),
            {"username": "Prof-X", "password": "pass of Prof-X", "role": "instructor"},
            {"username": "unlucky", "password": "pass of unlucky"},
            {"username": "has-gpus", "password": "pass of has-gpus"},
        )
        yield made


def opened(stage: Stage, username: str) -> Student:
    student = stage.signed_in(username, f"pass of {username}")
    student.start_server()
    return student


def number(student: Student) -> str:
    """What the student's own notebook shows; "" when something else answers."""
    answer = student.get(f"{student.path}/lab")
    return answer.json()["jupyter"] if answer.headers["Content-Type"].startswith("application/json") else ""


def token(student: Student) -> str:
    """The token inside the student's notebook."""
    return student.get(f"{student.path}/lab").json()["token"]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_person_signs_in_and_gets_a_notebook(stage, name):
    student = opened(stage, name)
    assert student.get(f"{student.path}/lab").json()["user"] == name


def test_who_has_never_signed_in_has_the_groups_of_the_roster(stage):
    stage.put({"username": "new", "password": "pass of new", "group": "phd"})
    there = stage.api(stage.tokens["gateway-token"], "GET", "/users/new")
    assert sorted(there.json()["groups"]) == ["phd", "student"]
    known = [stage.api(stage.tokens["gateway-token"], "GET", f"/groups/{name}").status_code for name in ("phd", "none")]
    assert known == [200, 404], "the gateway is asked to reserve GPUs for groups"


def test_the_sign_in_page_names_the_course(stage):
    page = requests.get(f"{stage.url}/hub/login", timeout=10).text
    assert "<title>Trees &amp; &lt;forests&gt;</title>" in page


@pytest.mark.parametrize(("name", "password"), [("007", "wrong"), ("nobody", "x"), ("007", ""), ("", "")])
def test_a_wrong_password_or_name_is_refused_with_the_same_words(stage, name, password):
    with pytest.raises(SignInFailed, match="Invalid username or password"):
        stage.signed_in(name, password)


def test_guessing_has_to_wait_and_others_do_not(stage):
    stage.put({"username": "guessed", "password": "right"})
    for _ in range(5):
        with pytest.raises(SignInFailed, match="Invalid"):
            stage.signed_in("guessed", "wrong")
    with pytest.raises(SignInFailed, match="Try again in"):
        stage.signed_in("guessed", "right")
    assert stage.signed_in("007", "pass of 007").get("/hub/home").status_code == 200
    time.sleep(1.1)
    assert stage.signed_in("guessed", "right").get("/hub/home").status_code == 200


def test_nobody_opens_the_notebook_of_another(stage):
    anna, bob = opened(stage, "Anna.Rossi"), opened(stage, "bo_b@unito.it")
    professor = stage.signed_in("Prof-X", "pass of Prof-X")
    assert anna.get(f"{anna.path}/lab").status_code == 200
    assert bob.get(f"{anna.path}/lab").status_code == 403
    assert professor.get(f"{anna.path}/lab").status_code == 403


def test_a_notebooks_token_reaches_what_is_the_owners(stage):
    anna = opened(stage, "Anna.Rossi")
    mine = token(anna)
    me = stage.api(mine, "GET", "/user").json()
    assert (me["name"], me["admin"], me["groups"]) == ("Anna.Rossi", False, ["student"])
    assert "access:services!service=gateway" in me["scopes"]
    assert stage.api(mine, "GET", "/users/Anna.Rossi").status_code == 200
    for method, path in [
        ("GET", "/users"),
        ("GET", "/users/007"),
        ("GET", "/groups"),
        ("GET", "/proxy"),
        ("POST", "/users/Anna.Rossi/tokens"),
        ("POST", "/users/eve"),
        ("DELETE", "/users/007"),
        ("DELETE", "/users/007/server"),
        ("POST", "/shutdown"),
    ]:
        assert stage.api(mine, method, path).status_code in (403, 404), (method, path)


def test_the_gateways_token_starts_and_stops_and_no_more(stage):
    mine = stage.tokens["gateway-token"]
    assert {user["name"] for user in stage.api(mine, "GET", "/users").json()} >= set(AWKWARD)
    opened(stage, "007")
    assert stage.api(mine, "DELETE", "/users/007/server").status_code in (202, 204)
    for method, path in [
        ("POST", "/users/eve"),
        ("DELETE", "/users/007"),
        ("POST", "/users/007/tokens"),
        ("GET", "/proxy"),
    ]:
        assert stage.api(mine, method, path).status_code == 403, (method, path)


def test_a_notebook_can_be_started_before_the_first_sign_in(stage):
    stage.put({"username": "New.Comer", "password": "x"})
    mine = stage.tokens["gateway-token"]
    assert stage.api(mine, "POST", "/users/New.Comer/server").status_code in (201, 202)
    wait.until(
        lambda: stage.api(mine, "GET", "/users/New.Comer").json(),
        lambda seen: seen["servers"].get("", {}).get("ready"),
        "the server",
        seconds=30,
    )


def test_an_instructor_sees_everybody_and_a_student_does_not(stage):
    professor, student = stage.signed_in("Prof-X", "pass of Prof-X"), stage.signed_in("007", "pass of 007")
    assert professor.get("/hub/admin").status_code == 200
    assert student.get("/hub/admin").status_code == 403


def test_a_refused_start_is_told_in_the_gateways_words(stage):
    student = stage.signed_in("unlucky", "pass of unlucky")
    with pytest.raises(OccamError, match=r"no host has 4G left \(wait a bit\)"):
        student.start_server()


def gpus_asked_for(stage: Stage) -> list[str]:
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/asked').read().decode())"
    code, out, err = stage.engine.exec(stage.gateway.id, ["python", "-c", ask])
    assert code == 0, err
    return [one.partition(": ")[2] for one in json.loads(out)["asked"] if one.startswith("gpu of has-gpus")]


def test_a_gpu_is_asked_for_where_there_are_some_and_the_choice_counts_once(stage):
    student = stage.signed_in("has-gpus", "pass of has-gpus")
    shown = student.get("/hub/spawn").text
    assert '<label for="gpu"' in shown
    assert "1 Tesla T4 (2 free)" in shown
    with pytest.raises(OccamError, match="offers no GPU H100"):
        student.start_server("H100")
    student.start_server("T4")
    assert gpus_asked_for(stage) == ["{'model': 'Tesla T4'}"]
    gateway = stage.tokens["gateway-token"]
    stage.api(gateway, "DELETE", "/users/has-gpus/server")
    wait.until(
        lambda: stage.api(gateway, "POST", "/users/has-gpus/server").status_code,
        lambda status: status in (201, 202),
        "a start without a form",
        seconds=30,
    )
    wait.until(lambda: len(gpus_asked_for(stage)), lambda many: many == 2, "the second start", seconds=30)
    assert gpus_asked_for(stage)[1] == "None"
    stage.api(gateway, "DELETE", "/users/has-gpus/server")
    wait.until(lambda: "<label" in student.get("/hub/spawn").text, bool, "the question again", seconds=30)
    student.start_server()
    assert gpus_asked_for(stage)[2] == "None"
    anybody = stage.signed_in("a+b-c", "pass of a+b-c")
    assert 'id="spawn_form"' not in anybody.get("/hub/spawn").text, "nobody else has to click"


def test_who_is_new_signs_in_and_who_left_is_out_without_a_restart(stage):
    stage.put({"username": "late", "password": "one"})
    late = stage.signed_in("late", "one")
    late.start_server()
    mine = token(late)
    assert stage.api(mine, "GET", "/user").status_code == 200
    stage.accounts({"command": "remove", "names": ["late"]})
    assert stage.api(mine, "GET", "/user").status_code == 403
    assert number(late) == ""
    assert "/hub/login" in late.get("/hub/home").url
    with pytest.raises(SignInFailed):
        stage.signed_in("late", "one")


def test_who_left_while_the_hub_was_down_is_out_too(stage):
    stage.put({"username": "gone", "password": "one"})
    gone = stage.signed_in("gone", "one")
    gone.start_server()
    mine = token(gone)
    stage.hub.pause()  # it is there, and is not told
    file = stage.folder / "data" / "accounts.json"
    kept = json.loads(file.read_text())
    del kept["people"]["gone"]
    file.write_text(json.dumps(kept))
    stage.hub.unpause()
    seen = wait.until(
        lambda: stage.api(mine, "GET", "/user").status_code, lambda status: status == 403, "refusal", seconds=60
    )
    assert seen == 403


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_notebooks_and_sessions_survive_the_hub(stage, signal):
    anna = opened(stage, "Anna.Rossi")
    before = number(anna)
    stage.hub.kill(signal)
    stage.hub.wait(timeout=30)
    assert number(anna) == before
    stage.hub.start()
    stage.await_hub()
    assert anna.get("/hub/home").status_code == 200
    assert number(anna) == before
    mine = stage.tokens["gateway-token"]
    assert stage.api(mine, "GET", "/users/Anna.Rossi").json()["servers"][""]["ready"]


def test_notebooks_survive_a_hub_that_comes_back_before_the_gateway(stage):
    anna = opened(stage, "Anna.Rossi")
    before = number(anna)
    stage.hub.stop(timeout=30)
    ask = "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/quiet/20')"
    assert stage.engine.exec(stage.gateway.id, ["python", "-c", ask])[0] == 0
    start = time.monotonic()
    stage.hub.start()
    stage.await_hub()
    assert time.monotonic() - start < 18, "the hub waits for the gateway"
    while time.monotonic() - start < 24:
        assert number(anna) == before
        time.sleep(1)
    me = stage.api(stage.tokens["gateway-token"], "GET", "/users/Anna.Rossi").json()
    assert me["servers"][""]["ready"]


def test_a_proxy_that_was_replaced_has_its_routes_back_soon(stage):
    anna = opened(stage, "Anna.Rossi")
    before = number(anna)
    stage.replace(stage.proxy)
    anna.url = stage.url = f"http://127.0.0.1:{stage.proxy.ports['8000/tcp'][0]['HostPort']}"

    def look() -> str:
        try:
            return number(anna)
        except requests.RequestException:
            return ""

    wait.until(look, lambda seen: seen == before, "the route", seconds=20, every=0.5)


def test_a_class_signs_in_at_once(stage):
    people = [f"class-{count}" for count in range(24)]
    stage.put(*({"username": name, "password": name} for name in people))
    start = time.monotonic()
    with ThreadPoolExecutor(len(people)) as pool:
        homes = list(pool.map(lambda name: stage.signed_in(name, name).get("/hub/home").status_code, people))
    assert homes == [200] * len(people)
    assert time.monotonic() - start < 30


def test_no_secret_shows(stage):
    """Neither in what inspect shows, nor in a process list, nor in the logs of hub and proxy."""
    anna = opened(stage, "Anna.Rossi")
    roster_token = (stage.folder / "data" / "roster-token").read_text()
    hidden = [*stage.tokens.values(), roster_token, token(anna), "pass of Anna.Rossi"]
    shown = [json.dumps(docker.APIClient().inspect_container(one.id)) for one in (stage.hub, stage.proxy)]
    shown += [json.dumps(one.top(ps_args="-eo pid,args")) for one in (stage.hub, stage.proxy)]
    shown += [one.logs().decode() for one in (stage.hub, stage.proxy)]
    for secret in hidden:
        assert not any(secret in text for text in shown)
