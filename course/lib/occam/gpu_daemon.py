"""Spark's Python workers in an executor with several GPUs: each task sees exactly those that Spark gave it.

`occam-executor` names this module in `spark.python.daemon.module`. Spark gives a task addresses and leaves the rest to
its code; here CUDA_VISIBLE_DEVICES is set before any of that code runs, so also before TensorFlow starts. CUDA reads it
once in a process, therefore such an executor runs without spark.python.worker.reuse.
"""

from __future__ import annotations

import os
from typing import Any


def show_gpus_of_tasks() -> None:
    """From now on whoever sets the context of a task also sets what CUDA shows."""
    from pyspark.taskcontext import TaskContext

    kept = TaskContext._setTaskContext.__func__

    def set_context(cls: Any, context: Any) -> None:
        kept(cls, context)
        if context is not None and "gpu" in context.resources():
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(context.resources()["gpu"].addresses)

    TaskContext._setTaskContext = classmethod(set_context)


if __name__ == "__main__":
    from pyspark import daemon

    show_gpus_of_tasks()
    daemon.manager()
