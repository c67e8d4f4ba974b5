"""The Spark driver's JVM of this kernel.

It is started here and not by spark-submit's scripts: one JVM in place of two, with the class path that the image's
class data archive was made for, and with its configuration in a file that only this user can read, so that the
cluster's secret is in no command line and no environment. The JVM ends when this process ends, however that
happens: it reads an end of file from its standard input then, and gives the cluster back.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from occam.errors import NotStarted

IMAGE = Path(os.environ.get("OCCAM_SPARK_DIR", "/opt/occam/spark"))
_PORTS = range(20000, 30000)
"""Below the ports that the kernel gives to outgoing connections."""
_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData")
"""A notebook's driver plans, its workers compute: with the quick compiler alone a session and its first queries take
0.75 of the CPU time. And out of memory a driver would hang on, with all its jobs; its end is an error one can see."""
_TMPFS = Path("/dev/shm")
_START = 120.0
_STOP = 20.0


@dataclass(frozen=True)
class Driver:
    """A running JVM. `private` is on tmpfs, its files are secret; `log` is the JVM's standard error."""

    jvm: subprocess.Popen[bytes]
    private: Path
    log: Path

    def last_words(self, lines: int = 3) -> str:
        """The end of the JVM's log."""
        told = [
            line for line in self.log.read_text(errors="replace").splitlines() if line and not line.startswith("\tat ")
        ]
        return "\n".join(told[-lines:])

    def stop(self) -> int:
        """End the JVM, which gives the cluster back, and return its exit code. Safe to call twice."""
        if self.jvm.stdin:
            self.jvm.stdin.close()
        try:
            self.jvm.wait(_STOP)
        except subprocess.TimeoutExpired:
            self.jvm.kill()
            self.jvm.wait()
        shutil.rmtree(self.private, ignore_errors=True)
        return self.jvm.returncode


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
    """Start the JVM with Spark's `conf`, which holds the cluster's secret, and the gateway's `token` in a file.

    tick  called about ten times a second while the JVM starts; what it raises ends the start

    Raises NotStarted with the JVM's last words.
    """
    _forget_the_dead()
    private = Path(tempfile.mkdtemp(prefix=f"occam-{os.getpid()}-", dir=_TMPFS))
    log = Path(tempfile.gettempdir(), f"occam-driver-{os.getpid()}.log")
    _write(private / "token", token)
    words = {**conf, "spark.occam.token.file": str(private / "token")}
    # Java's property files take a backslash for the beginning of something else.
    lines = (f"{key} {value}\n".replace("\\", "\\\\") for key, value in words.items())
    _write(private / "spark.conf", "".join(lines))
    told = private / "told"
    with log.open("wb") as out:
        jvm = subprocess.Popen(
            _command(words, private),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env=os.environ
            | {"SPARK_CONNECT_MODE": "0", "SPARK_LOCAL_IP": "127.0.0.1", "_PYSPARK_DRIVER_CONN_INFO_PATH": str(told)},
            start_new_session=True,  # or an interrupt of the kernel would end it
        )
    driver = Driver(jvm, private, log)
    try:
        _wait_for(driver, told, tick)
        _attach(driver, told.read_bytes())
    except BaseException:
        jvm.kill()
        driver.stop()
        raise
    return driver


def detach() -> None:
    """Make pyspark forget its JVM, so that a next session gets a new one with a new configuration."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._gateway is not None:
        SparkContext._gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = None


def _command(conf: Mapping[str, object], private: Path) -> list[str]:
    archive = IMAGE / "driver.jsa"
    # An archive that does not fit is left aside by the JVM; what it says of that would not help a student.
    mapped = [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable", "-Xlog:all=error:stderr"] if archive.exists() else []
    memory = f"-Xmx{conf.get('spark.driver.memory', '1g')}"
    extra = str(conf.get("spark.driver.extraJavaOptions", "")).split()
    submit = ["org.apache.spark.deploy.SparkSubmit", "--properties-file", str(private / "spark.conf"), "pyspark-shell"]
    return ["java", f"@{IMAGE}/java.args", *mapped, memory, *_FLAGS, *extra, *submit]


def _wait_for(driver: Driver, told: Path, tick: Callable[[], object]) -> None:
    end = time.monotonic() + _START
    while not told.exists():
        if driver.jvm.poll() is not None:
            raise NotStarted(f"Spark's driver did not start:\n{driver.last_words()}")
        if time.monotonic() > end:
            raise NotStarted(f"Spark's driver did not start within {_START:g} s", "try again, or restart the kernel")
        tick()
        time.sleep(0.1)


def _attach(driver: Driver, told: bytes) -> None:
    """Connect pyspark to the JVM, which has `told` its port and its token: two numbers of four bytes and a text."""
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    port, length = int.from_bytes(told[:4], "big"), int.from_bytes(told[4:8], "big")
    words = {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": told[8 : 8 + length].decode()}
    with _environment(words):
        gateway: Any = launch_gateway()
    gateway.proc = driver.jvm
    SparkContext._ensure_initialized(gateway=gateway)
    # Executors run the same image: the same Python at the same path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)


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


def _forget_the_dead() -> None:
    """Remove what kernels that were killed left on tmpfs."""
    for left in _TMPFS.glob("occam-*-*"):
        pid = left.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
