"""The Spark driver's JVM of a cluster, and pyspark's connection to it.

It is started here and not by spark-submit's scripts: one JVM in place of two, with the class path that the image's
class data archive was made for, and with its configuration in a file that only this user can read, so that the
cluster's secret is in no command line and no environment. Its keeper (keeper.py) ends it when this kernel is gone.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from occam import kept
from occam.errors import NotStarted
from occam.kept import Kept

IMAGE = Path(os.environ.get("OCCAM_SPARK_DIR", "/opt/occam/spark"))
_PORTS = range(20000, 30000)
"""Below the ports that the kernel gives to outgoing connections."""
_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData")
"""A notebook's driver plans, its workers compute: with the quick compiler alone a session and its first queries take
0.75 of the CPU time. And out of memory a driver would hang on, with all its jobs; its end is an error one can see."""
OUT_OF_MEMORY = 3
"""The JVM's exit code after -XX:+ExitOnOutOfMemoryError."""
_START = 120.0


@dataclass(frozen=True)
class Driver:
    """A running JVM. `kept.private` is on tmpfs, its files are secret; `log` is the JVM's standard error.

    port, secret  what pyspark reaches it by
    heap          the JVM's memory for its objects, as Spark spells it
    """

    kept: Kept
    log: Path
    port: int
    secret: str
    heap: str = ""

    @property
    def private(self) -> Path:
        return self.kept.private

    @property
    def ended(self) -> bool:
        return self.kept.ended()

    def stop(self) -> int | None:
        """End the JVM, which gives the cluster back, and return its exit code. Safe to call twice."""
        code = self.kept.stop()
        shutil.rmtree(self.private, ignore_errors=True)
        return code

    def last_words(self) -> str:
        return _end_of(self.log)


def free_port(host: str) -> int:
    """A TCP port that nothing on `host`, an address of this container, listens on. Raises NotStarted."""
    for port in random.sample(_PORTS, min(len(_PORTS), 50)):
        with socket.socket() as trial:
            try:
                trial.bind((host, port))
            except OSError:
                continue
            return port
    raise NotStarted(f"no free port on {host}", "restart the kernels that you do not need")


def start(conf: Mapping[str, object], token: str, tick: Callable[[], object] = lambda: None) -> Driver:
    """Start the JVM with Spark's `conf`, which holds the cluster's secret, and its `token` for the gateway in a file.

    tick  called about ten times a second while the JVM starts; what it raises ends the start

    Raises NotStarted with the JVM's last words.
    """
    kept.forget_the_dead()
    private = kept.folder()
    there: Kept | None = None
    try:
        log = Path(tempfile.gettempdir(), private.name.removeprefix("occam-") + ".log")
        _write(private / "token", token)
        words = {**conf, "spark.occam.token.file": str(private / "token")}
        # Java's property files take a backslash for the beginning of something else.
        lines = (f"{key} {value}\n".replace("\\", "\\\\") for key, value in words.items())
        _write(private / "spark.conf", "".join(lines))
        told = private / "told"
        env = os.environ | {"SPARK_CONNECT_MODE": "0", "SPARK_LOCAL_IP": "127.0.0.1"}
        there = kept.start(private, _command(words, private), env | {"_PYSPARK_DRIVER_CONN_INFO_PATH": str(told)}, log)
        there.await_jvm()
        _wait_for(there, told, log, tick)
        return Driver(there, log, *_read(told.read_bytes()), heap=str(conf.get("spark.driver.memory", "")))
    except BaseException:
        if there is not None:
            there.stop(kill=True)
        shutil.rmtree(private, ignore_errors=True)
        raise


def connect(driver: Driver) -> Any:
    """A new connection of pyspark to the JVM."""
    from pyspark.java_gateway import launch_gateway

    words = {"PYSPARK_GATEWAY_PORT": str(driver.port), "PYSPARK_GATEWAY_SECRET": driver.secret}
    with _environment(words):
        gateway: Any = launch_gateway()
    # Executors run the same image: the same Python at the same path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return gateway


def _command(conf: Mapping[str, object], private: Path) -> list[str]:
    archive = IMAGE / "driver.jsa"
    # An archive that does not fit is left aside by the JVM; what it says of that would not help a student.
    mapped = [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable", "-Xlog:all=error:stderr"] if archive.exists() else []
    memory = f"-Xmx{conf.get('spark.driver.memory', '1g')}"
    extra = str(conf.get("spark.driver.extraJavaOptions", "")).split()
    submit = ["org.apache.spark.deploy.SparkSubmit", "--properties-file", str(private / "spark.conf"), "pyspark-shell"]
    return ["java", f"@{IMAGE}/java.args", *mapped, memory, *_FLAGS, *extra, *submit]


def _wait_for(there: Kept, told: Path, log: Path, tick: Callable[[], object]) -> None:
    end = time.monotonic() + _START
    while not told.exists():
        if there.ended():
            raise NotStarted(f"Spark's driver did not start:\n{_end_of(log)}")
        if time.monotonic() > end:
            raise NotStarted(f"Spark's driver did not start within {_START:g} s", "try again, or restart the kernel")
        tick()
        time.sleep(0.1)


def _read(told: bytes) -> tuple[int, str]:
    """Port and secret, which the JVM has `told`: two numbers of four bytes and a text."""
    port, length = int.from_bytes(told[:4], "big"), int.from_bytes(told[4:8], "big")
    return port, told[8 : 8 + length].decode()


def _end_of(log: Path, lines: int = 3) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    told = [line for line in text.splitlines() if line and not line.startswith("\tat ")]
    return "\n".join(told[-lines:])


@contextmanager
def _environment(words: Mapping[str, str]) -> Iterator[None]:
    os.environ.update(words)
    try:
        yield
    finally:
        for key in words:
            os.environ.pop(key, None)


def _write(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as out:
        out.write(text)
