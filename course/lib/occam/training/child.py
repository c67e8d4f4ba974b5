"""The process of one rank: `python -m occam.training.child`, started anew by each task of the barrier stage.

TensorFlow's threads and collectives can be set up once in a process, and only before anything else, while Spark uses
its Python workers again; and a process of its own can be ended at any moment. It ends with its parent
(PR_SET_PDEATHSIG) and with the notebook's end of the connection: nothing trains on that nobody waits for.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from occam.training import wire
from occam.training.plan import Go, Order, Plan
from occam.training.ring import LostRank, Ring

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG, prctl(2)."""
_CALL = 30.0
"""Seconds that the notebook may take to answer a call."""
LOST, FAILED, ALONE = 3, 4, 5
"""Exit codes: the notebook is gone; it was told why; another rank is gone."""


class Words:
    """What this rank is doing, which it says every few seconds."""

    def __init__(self, line: wire.Line) -> None:
        self.now, self._line = "loading TensorFlow", line
        threading.Thread(target=self._beat, name="occam-train-beat", daemon=True).start()

    def _beat(self) -> None:
        while True:
            time.sleep(wire.BEAT)
            try:
                self._line.say(wire.Alive(self.now))
            except OSError:
                os._exit(LOST)


def main() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(LOST)
    order: Order = pickle.load(sys.stdin.buffer)
    line = _call(order.plan)
    line.say(wire.Hello(order.rank, os.getpid()))
    line.keep(lambda: os._exit(LOST))
    try:
        _work(order, line, Words(line))
    except Exception as error:  # noqa: BLE001  the edge of this process: whatever it is, the notebook must hear of it
        if _lost_another(error):
            line.say(wire.Alone())
            os._exit(ALONE)
        line.say(wire.Failed(_in_short(error), traceback.format_exc()))
        os._exit(FAILED)
    # TensorFlow's threads that watch the other ranks would take their end for a fault.
    os._exit(0)


def _lost_another(error: Exception) -> bool:
    """In a graph our own error is one of TensorFlow's, and that of its collective has no class of its own."""
    text = str(error)
    of_the_sum = type(error).__module__.startswith("tensorflow.") and ("ollective" in text or "LostRank" in text)
    return of_the_sum or isinstance(error, LostRank)


def _in_short(error: Exception, most: int = 300) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text[:most]}{'…' if len(text) > most else ''}"


def _call(plan: Plan) -> wire.Line:
    with socket.create_connection(plan.address, timeout=_CALL) as there:
        there.settimeout(None)
        connection = Connection(there.detach())
    answer_challenge(connection, plan.key)
    deliver_challenge(connection, plan.key)
    return wire.Line(connection, room=4)


def _work(order: Order, line: wire.Line, words: Words) -> None:
    import tensorflow as tf

    go: Go = pickle.load(sys.stdin.buffer)
    words.now = "meeting the other ranks"
    tf.config.threading.set_intra_op_parallelism_threads(go.threads)
    tf.config.threading.set_inter_op_parallelism_threads(go.threads)
    ring, meeting = _meet(order, go)
    from occam.training.rank import Rank

    words.now = "building the network"
    rank = Rank(order, line, words, ring)
    rank.take_rows()
    words.now = "waiting for the notebook"
    while True:
        told = line.next()
        if isinstance(told, wire.Done):
            break
        rank.train(told)
    del meeting


def _meet(order: Order, go: Go) -> tuple[Ring | None, Any]:
    """What ranks on CPUs sum with, or what must live as long as TensorFlow's collectives do."""
    if len(go.peers) == 1:
        return None, None
    if not order.plan.gpus:
        return Ring(go.peers, order.rank, order.plan.key), None
    import tensorflow as tf

    # The strategy starts the collectives, and is used for nothing else.
    who = {"cluster": {"worker": go.peers}, "task": {"type": "worker", "index": order.rank}}
    os.environ["TF_CONFIG"] = json.dumps(who)
    return None, tf.distribute.MultiWorkerMirroredStrategy()


if __name__ == "__main__":
    main()
