"""A stage for tests of Spark's side: a container of the notebook image with a stand-in for the gateway in it.

Executors are processes beside it, by the same entrypoint that their containers have, or containers of their own.
"""

from __future__ import annotations

import io
import json
import tarfile
import textwrap
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from occamctl import wait
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.spark import settings

HERE = Path(__file__).parent
LABELS = {"occam.test": "spark-backend"}
PORT, KERNEL_PORT = 9900, 9901
USER = "anna.rossi@unito.it"
PATH = "/users/anna.rossi%40unito.it/clusters/lab"
SECONDS = 240

ASK = """
import sys, urllib.error, urllib.request
method, url, body, seconds = sys.argv[1:]
asked = urllib.request.Request(url, data=body.encode() or None, method=method)
try:
    print(urllib.request.urlopen(asked, timeout=float(seconds)).read().decode())
except urllib.error.HTTPError as error:
    sys.exit(error.read().decode())
"""


@dataclass
class Stage:
    """The container, and what can be done in it as the student."""

    engine: Engine
    image: str
    container: str

    def shell(self, script: str, *, seconds: int = SECONDS) -> str:
        """What `script` prints. Fails when its exit code is not 0."""
        code, out, err = self.engine.exec(self.container, ["bash", "-c", script], user="1000", seconds=seconds)
        assert code == 0, (code, out.decode()[-2000:], err.decode()[-2000:])
        return out.decode().strip()

    def python(self, script: str) -> Any:
        """What `script` leaves in `said`, as JSON, run as a notebook's kernel would: the library is imported."""
        text = (
            "import json, os, subprocess, time\nimport occam\n"
            + textwrap.dedent(script)
            + "\nprint(json.dumps(said))\n"
        )
        quoted = "'" + text.replace("'", "'\\''") + "'"
        return json.loads(self.shell(f"OCCAM_DRIVER_HOST=$(hostname -i) python -c {quoted}").splitlines()[-1])

    def _post(self, method: str, url: str, body: str, seconds: int) -> Any:
        command = ["python", "-ISc", ASK, method, url, body, str(seconds)]
        code, out, err = self.engine.exec(self.container, command, user="1000", seconds=seconds + 10)
        assert code == 0, err.decode()
        return json.loads(out)

    def ask(self, method: str, path: str, body: str = "") -> Any:
        return self._post(method, f"http://127.0.0.1:{PORT}{path}", body, 10)

    def requests(self, method: str, ending: str) -> list[Any]:
        """Bodies of what the gateway was asked with this method, at paths with this ending."""
        return [
            one["body"]
            for one in self.ask("GET", "/requests")
            if one["method"] == method and one["path"].endswith(ending)
        ]

    def javas(self) -> int:
        return int(self.shell("pgrep -xc java || true"))

    # A kernel that stays: many tests with one driver -------------------------------------------------------------

    def start_kernel(self, folder: str = "/home/student", **arguments: object) -> None:
        """Start a kernel in `folder` with a session of these arguments of occam.spark(), and wait for it."""
        told = json.dumps(arguments).replace("'", "'\\''")
        self.shell(f"""
            cd {folder}
            export OCCAM_DRIVER_HOST=$(hostname -i)
            nohup python /opt/test/kernel.py {KERNEL_PORT} '{told}' > /tmp/kernel.log 2>&1 &
        """)
        probe = f"[ -d /proc/$(pgrep -f test/kernel.p[y]) ] && echo > /dev/tcp/127.0.0.1/{KERNEL_PORT}"
        there = lambda: self.engine.exec(self.container, ["bash", "-c", probe], user="1000", seconds=5)[0]  # noqa: E731
        wait.until(there, (0).__eq__, "the kernel", seconds=SECONDS)

    def cell(self, script: str, *, seconds: int = SECONDS) -> Any:
        """What `script` leaves in `said`, run in the kernel."""
        return self._post("POST", f"http://127.0.0.1:{KERNEL_PORT}", textwrap.dedent(script), seconds)

    def executor_log(self, number: int) -> str:
        return self.shell(f"cat /tmp/executor-lab-{number}.log")

    @contextmanager
    def executor(self, number: int, memory: int) -> Iterator[str]:
        """An executor in a container of its own, with an address and a memory limit of its own; its container's id."""
        words = self.cell("""
            folder = spark._held.driver.private
            lines = (folder / "spark.conf").read_text().splitlines()
            said = dict(line.split(" ", 1) for line in lines)
        """)
        variables = {
            "OCCAM_DRIVER_HOST": words["spark.driver.host"], "OCCAM_DRIVER_PORT": words["spark.driver.port"],
            "OCCAM_EXECUTOR_ID": str(number), "OCCAM_APP_ID": words["spark.occam.app.id"], "OCCAM_CORES": "1",
            "OCCAM_MEMORY": str(memory), "OCCAM_EXECUTOR_ARGS": "/home/student/executor.args",
        }  # fmt: skip
        args = settings.executor_args(words["spark.authenticate.secret"]).encode()
        with _container(self.engine, self.image, ["occam-executor"], variables, memory=memory) as made:
            self.engine.api.put_archive(made, "/home/student", _archive("executor.args", args))
            self.engine.api.start(made)
            yield made

    def state(self, container: str) -> str:
        return str(self.engine.api.inspect_container(container)["State"]["Status"])

    def ended(self, container: str) -> tuple[int, str]:
        """Exit code and last line of a container that has ended."""
        code = self.engine.api.inspect_container(container)["State"]["ExitCode"]
        return code, self.engine.api.logs(container).decode().strip().splitlines()[-1]


def _archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.uid, entry.gid = len(content), 0o400, 1000, 1000
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@contextmanager
def _container(
    engine: Engine,
    image: str,
    command: list[str],
    env: Mapping[str, str],
    *,
    memory: int = 0,
    binds: tuple[str, ...] = (),
) -> Iterator[str]:
    limits = {"mem_limit": memory, "memswap_limit": memory} if memory else {}
    made: str = engine.api.create_container(
        image,
        command,
        name=f"occam-spark-{uuid.uuid4().hex[:6]}",
        environment=dict(env),
        labels=LABELS,
        user="1000",
        host_config=engine.api.create_host_config(
            binds=list(binds), cap_drop=["ALL"], init=not memory, log_config={"Type": "json-file"}, **limits
        ),
    )["Id"]
    try:
        yield made
    finally:
        engine.api.remove_container(made, force=True, v=True)


@contextmanager
def built() -> Iterator[tuple[Engine, str]]:
    """This machine's engine, and the tag of the notebook image on it."""
    engine = Engine.local()
    wanted = images.notebook_image()
    images.ensure_built(engine, wanted, print)
    try:
        yield engine, wanted.tag
    finally:
        engine.close()


@contextmanager
def stage(engine: Engine, image: str) -> Iterator[Stage]:
    """A new container: what one test leaves behind is not the next one's."""
    env = {
        "OCCAM_GATEWAY_URL": f"http://127.0.0.1:{PORT}",
        "OCCAM_USER": USER,
        "JUPYTERHUB_API_TOKEN": "the-students-token",
        "PYTHONPATH": "/opt/test",
    }
    binds = (
        f"{HERE.parents[1]}/occamctl:/opt/test/occamctl:ro",
        f"{HERE}/stand_in_gateway.py:/opt/test/gateway.py:ro",
        f"{HERE}/spark_kernel.py:/opt/test/kernel.py:ro",
        f"{HERE}/notebook_kernel.py:/opt/test/notebook_kernel.py:ro",
    )
    with _container(engine, image, ["python", "/opt/test/gateway.py", str(PORT)], env, binds=binds) as made:
        engine.api.start(made)
        probe = ["bash", "-c", f"echo > /dev/tcp/127.0.0.1/{PORT}"]
        wait.until(lambda: engine.exec(made, probe, seconds=5)[0], (0).__eq__, "stand-in gateway", seconds=30)
        yield Stage(engine, image, made)
