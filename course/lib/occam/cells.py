"""What happens around a notebook's cells: notices before one, words before a Spark error's traceback, interrupts."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType
from typing import Any, NoReturn

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.logger import PySparkLogger

from occam import driver, explain, held, kernel, show
from occam.cluster import Cluster
from occam.errors import OccamError
from occam.held import Held

_PATIENCE = 3.0
"""Seconds that an interrupt waits for Spark to hear of it."""


def watch(shell: Any, begin: Any, end: Any) -> None:
    """Call `begin` before each cell and `end` after it, and explain Spark's errors."""
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # pyspark prints the whole Java stack of a mistyped name as one line of JSON, before the error that says it all.
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)
    for source in (logging.getLogger(), logging.getLogger("py4j.clientserver")):
        source.addFilter(lambda record: not _is_noise(record))
    shell.events.register("pre_run_cell", lambda _cell: begin())
    shell.events.register("post_run_cell", lambda result: _after(result, end))
    if not shell.custom_exceptions:  # one that the student has set stays
        shell.set_custom_exc((Py4JError, PySparkException, ConnectionError), _failed)


def listen_to_interrupts() -> None:
    """In a plain Python: an interrupt cancels the jobs of every cluster, and not of the last one only."""
    if not kernel.in_notebook() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupted)


def _after(result: Any, end: Any) -> None:
    end()
    if isinstance(result.error_in_exec, KeyboardInterrupt) and held.known():
        _cancel()


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    _cancel()
    raise KeyboardInterrupt


def _cancel() -> None:
    """From another thread: the connection of this one is in the middle of something."""
    contexts = [one.session.sparkContext for one in held.known()]
    asking = threading.Thread(target=lambda: [context.cancelAllJobs() for context in contexts], daemon=True)
    asking.start()
    asking.join(_PATIENCE)


def _is_noise(record: logging.LogRecord) -> bool:
    """What py4j logs of an interrupt, with a Java stack, is no error."""
    return record.msg in (
        "KeyboardInterrupt while sending command.",
        "Exception occurred while shutting down connection",
    )


def _failed(shell: Any, kind: Any, error: BaseException, trace: Any, tb_offset: int | None = None) -> None:
    words = _why(error)
    if words:
        show.tell(words)
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


def _why(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    gone = explain.driver_is_gone(text)
    there = _whose(error, gone)
    if not there:
        return ""
    ended = _ended(there, _PATIENCE if gone else 0)
    if ended is not None:
        ran_out = ended.driver.stop() == driver.OUT_OF_MEMORY
        return explain.why("", None, driver_out_of_memory=ran_out, driver_heap=ended.driver.heap)
    return explain.why(text, _cluster(there[-1]))


def _whose(error: BaseException, gone: bool) -> list[Held]:
    """The cluster in whose JVM it happened. Where the error does not tell: of a lost connection any, else the last."""
    there = held.known()
    java = getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    client = getattr(java, "_gateway_client", None)
    return [one for one in there if one.java._gateway_client is client] or (there if gone else there[-1:])


def _ended(there: list[Held], seconds: float) -> Held | None:
    """The one of them whose driver has ended, or does within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        for one in there:
            if one.driver.ended:
                return one
        if time.monotonic() >= end:
            return None
        time.sleep(0.1)


def _cluster(one: Held) -> Cluster | None:
    try:
        return one.session.cluster
    except OccamError:
        return None
