"""What one student's notebook and executors can reach of another's, and what shows of a cluster's secrets.

Each refusal has its twin: the owner, who does the same, gets in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from occamctl.actions.pieces import host_of_node
from occamctl.actions.session import Session, open_course
from occamctl.actions.student import Kernel, Student
from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.spec import names

from .conftest import STUDENTS

pytestmark = pytest.mark.sandbox

BEGIN = """
import json, os, socket, subprocess, occam
events = "/tmp/events"
os.makedirs(events, exist_ok=True)
spark = occam.spark(workers=1, name="lab", conf={
    "spark.eventLog.enabled": "true", "spark.eventLog.dir": events, "spark.eventLog.compress": "false"})
sc = spark.sparkContext

def hold(doors):
    # Open connections that stay open until the next time, and tell what came of each.
    for one in getattr(socket, "kept", []):
        one.close()
    socket.kept, said = [], {}
    for host, port in doors:
        try:
            socket.kept.append(socket.create_connection((host, port), 3))
            said[f"{host}:{port}"] = "connected"
        except OSError as error:
            said[f"{host}:{port}"] = type(error).__name__
    return said

def callers(ports, mine=()):
    # Who has a connection to one of these ports here: addresses, without those in `mine`.
    found = set()
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in open(file).read().splitlines()[1:]:
            here, there, state = line.split()[1:4]
            address = socket.inet_ntoa(bytes.fromhex(there.split(":")[0][-8:])[::-1])
            if state == "01" and int(here.split(":")[1], 16) in ports and address not in mine:
                found.add(address)
    return sorted(found)

def in_an_executor(function, *words):
    return sc.parallelize([0], 1).map(lambda _: function(*words)).collect()[0]

conf = dict(line.split(" ", 1) for line in (spark._held.driver.private / "spark.conf").read_text().splitlines())
"""
WHERE = """
infos = sc._jsc.sc().statusTracker().getExecutorInfos()
print(json.dumps({
    "driver": conf["spark.driver.host"], "port": int(conf["spark.driver.port"]), "ui": int(conf["spark.ui.port"]),
    "blocks": [[one.host(), one.port()] for one in infos],
    "addresses": subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split(),
}))
"""


class Person(NamedTuple):
    student: Student
    kernel: Kernel

    def run(self, code: str) -> str:
        ran = self.kernel.run(code, seconds=200)
        assert not ran.error, ran.error
        return ran.text

    def told(self, code: str) -> Any:
        """What a cell prints as JSON."""
        return json.loads(self.run(code))


@pytest.fixture(scope="module")
def people(url: str, passwords: dict[str, str]) -> Iterator[list[Person]]:
    """Two students, each with a cluster of one worker and the same name."""
    students = [Student(url, name) for name in STUDENTS]
    for student in students:
        student.sign_in(passwords[student.username])
    with ThreadPoolExecutor() as pool:
        list(pool.map(Student.start_server, students))
    with students[0].kernel() as one, students[1].kernel() as two:
        both = [Person(students[0], one), Person(students[1], two)]
        for person in both:
            person.run(BEGIN)
        yield both
        for person in both:
            person.run("spark.stop()")


@pytest.fixture(scope="module")
def session(course: Path, people: list[Person]) -> Iterator[Session]:
    with open_course(course) as opened:
        yield opened


def where(session: Session, service: str) -> tuple[Engine, str]:
    """The engine and the id of a service's container."""
    task = next(one for one in swarm.tasks(session.manager, service_name=service) if one.state == "running")
    return session.engine(host_of_node(session, task.node_id)), task.container_id


def executor(session: Session, owner: str) -> str:
    """The service of somebody's one executor."""
    labels = {names.COURSE: session.course.course, names.KIND: "executor", names.OWNER: owner}
    (service,) = swarm.services(session.manager, labels)
    return str(service["Spec"]["Name"])


def test_nobody_reaches_another_ones_driver_or_executors(people: list[Person], session: Session) -> None:
    """Asked of who is called: that a connection opens proves nothing, a network's own relay may have taken it."""
    anna, bruno = people
    his = bruno.told(WHERE)
    service = executor(session, bruno.student.username)
    (at, worker) = next(one for one in his["blocks"] if one[0] != his["driver"])
    by_name = [[service, worker], [f"tasks.{service}", worker]]
    doors = [[his["driver"], his["port"]], *his["blocks"], *by_name]
    elsewhere = [[host, port] for host in his["addresses"] for port in (his["port"], his["ui"])]
    ports, mine = [his["port"], his["ui"], *(port for _, port in his["blocks"])], [his["driver"], at, "127.0.0.1"]

    def called(but: list[str]) -> tuple[list[str], list[str]]:
        """Who holds a connection to his driver, and who to his executor."""
        words = f"callers, {ports}, {but}"
        return tuple(bruno.told(f"print(json.dumps([callers({ports}, {but}), in_an_executor({words})]))"))

    for run in ("hold({})", "in_an_executor(hold, {})"):
        twin = bruno.told(f"print(json.dumps({run.format(doors)}))")
        assert set(twin.values()) == {"connected"}, f"the owner, {run}: {twin}"
        to_driver, to_executor = called([])
        assert to_driver, "who calls is seen"
        assert to_executor, "who calls is seen"
        refused = anna.told(f"print(json.dumps({run.format(doors + elsewhere)}))")
        assert called(mine) == ([], []), f"somebody else, {run}: {refused}"
        named = {refused[f"{host}:{port}"] for host, port in by_name}
        assert named == {"gaierror"}, "another one's services have no name here"


def test_nobody_opens_another_ones_spark_page(people: list[Person]) -> None:
    anna, bruno = people
    page = f"{bruno.student.path}/proxy/{bruno.told(WHERE)['ui']}/jobs/"
    assert "Spark Jobs" in bruno.student.get(page).text
    seen = anna.student.get(page)
    assert seen.status_code in (403, 404), f"{seen.status_code} {seen.url}"
    assert "Spark Jobs" not in seen.text


BOARD = """
from tensorboard import notebook
os.makedirs("/tmp/runs", exist_ok=True)
notebook.start("--logdir /tmp/runs")
"""
END_IT = """
import signal
from tensorboard import manager
for one in manager.get_all():
    os.kill(one.pid, signal.SIGTERM)
"""


def test_tensorboard_opens_in_its_owners_browser_and_in_nobody_elses(people: list[Person]) -> None:
    """At the address that the cell's own frame has, as lab 5 shows it."""
    anna, bruno = people
    ran = bruno.kernel.run(BOARD, seconds=120)
    try:
        assert not ran.error, ran.error
        shown = "".join(one.get("text/html", "") for one in ran.displays)
        address = re.search(r'new URL\("([^"]+)"', shown)
        assert address, shown
        assert "<title>TensorBoard</title>" in bruno.student.get(address[1]).text
        assert "TensorBoard" not in bruno.student.get(f"{bruno.student.path}/proxy/1/").text
        seen = anna.student.get(address[1])
        assert seen.status_code in (403, 404), f"{seen.status_code} {seen.url}"
        assert "TensorBoard" not in seen.text
    finally:
        bruno.run(END_IT)


def shown_by_the_hosts(session: Session) -> str:
    """What engines tell of services and containers, what these printed, and their processes' words and environment."""
    told = [json.dumps(swarm.services(session.manager, {names.COURSE: session.course.course}), default=str)]
    processes = ["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; true"]
    for engine in session.engines.values():
        for one in engine.api.containers():
            told += [json.dumps(engine.api.inspect_container(one["Id"])), json.dumps(engine.api.top(one["Id"]))]
            told.append(engine.api.logs(one["Id"], tail=2000).decode(errors="replace"))
            told.append(engine.exec(one["Id"], processes, user="0")[1].decode(errors="replace"))
    return "".join(told)


def test_no_secret_of_a_cluster_shows_anywhere(people: list[Person], session: Session) -> None:
    anna, _ = people
    mine = anna.told("""
assert sc.parallelize(range(10), 2).sum() == 45
private = spark._held.driver.private
(log,) = os.listdir(events)
names = sorted(os.listdir(os.path.join(events, log))) if os.path.isdir(os.path.join(events, log)) else [""]
print(json.dumps({
    "app": conf["spark.occam.app.id"], "ui": int(conf["spark.ui.port"]),
    "secrets": [conf["spark.authenticate.secret"], (private / "token").read_text().strip()],
    "log": "".join(open(os.path.join(events, log, name).rstrip("/"), errors="replace").read() for name in names),
}))
""")
    page, app = f"{anna.student.path}/proxy/{mine['ui']}", mine["app"]
    pages = "".join(
        anna.student.get(f"{page}/{path}").text
        for path in ("environment/", "executors/", "jobs/", f"api/v1/applications/{app}/environment")
    )
    for what, shown in {
        "hosts": shown_by_the_hosts(session),
        "Spark's page": pages,
        "event log": mine["log"],
    }.items():
        assert app in shown, f"{what}: the twin, which may be seen, is not there"
        assert [secret for secret in mine["secrets"] if secret in shown] == [], what


def test_what_a_driver_shows_to_the_gateway_opens_nothing_else(people: list[Person]) -> None:
    anna, bruno = people
    ask = """
def ask(path, token, method="GET", body=None):
    import urllib.error, urllib.request
    asked = urllib.request.Request(os.environ["OCCAM_GATEWAY_URL"].rstrip("/") + path, method=method,
        data=json.dumps(body).encode() if body else None, headers={{"Authorization": "token " + token}})
    try:
        return urllib.request.urlopen(asked, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code

from urllib.parse import quote
me, other = quote({me!r}, safe=""), quote({other!r}, safe="")
token = (spark._held.driver.private / "token").read_text().strip()
beat = dict(method="PUT", body={{"registered": 1, "jobs": False}})
print(json.dumps([
    ask(f"/users/{{me}}/clusters/lab/lease", token, **beat),
    ask(f"/users/{{other}}/clusters/lab/lease", token, **beat),
    ask(f"/users/{{other}}/clusters/lab", token, "DELETE"),
    ask(f"/users/{{me}}/quota", token),
    ask(f"/users/{{me}}/notebook", token),
    ask(f"/users/{{me}}/clusters/lab/workers", token, "PUT", {{"workers": 2}}),
    ask(f"/users/{{me}}/quota", occam.gateway.here().token),
]))
"""
    said = anna.told(ask.format(me=anna.student.username, other=bruno.student.username))
    assert said == [200, 401, 401, 401, 401, 401, 200]


CONFINED = """
def limits(_=None):
    from glob import glob
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    limit = {name: int(open(next(path for path in paths if glob(path))).read()) for name, paths in {
        "pids": ("/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"),
        "memory": ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"),
    }.items()}
    raising = subprocess.run(["find", "/", "-xdev", "-perm", "/6000", "-type", "f"], capture_output=True, text=True)
    return {"uid": os.getuid(), "raising": raising.stdout.split(), **limit,
            **{key: status[key].strip() for key in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")}}
print(json.dumps(in_an_executor(limits)))
"""


def test_executors_are_confined(people: list[Person], session: Session) -> None:
    anna, _ = people
    inside = anna.told(CONFINED)
    assert inside["uid"] == 1000
    assert inside["raising"] == [], "programs that run as somebody else than who starts them"
    assert {inside[key] for key in inside if key.startswith("Cap")} == {"0" * 16}
    engine, container = where(session, executor(session, anna.student.username))
    host = engine.api.inspect_container(container)["HostConfig"]
    assert 100 < inside["pids"] == host["PidsLimit"] <= 4096
    worker = session.course.spark.worker
    assert (host["NanoCpus"], host["Memory"]) == (int(worker.cpus * 1e9), int(worker.memory))
    assert inside["memory"] == int(worker.memory)
    assert not host["Privileged"]
    assert [bind for bind in host["Binds"] or [] if "docker.sock" in bind] == []
    log = host["LogConfig"]
    assert log["Type"] == "json-file"
    assert re.fullmatch(r"[1-9]m", log["Config"]["max-size"])
    assert int(log["Config"]["max-file"]) <= 5
