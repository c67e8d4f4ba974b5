"""`make bench`: how fast and how large, each as a ratio to a peer that runs beside it, interleaved, medians.

python bench/run.py            everything that can be measured here
python bench/run.py start      only what is named: start, gateway, gpu, spark, job, training, course, demo
"""

from __future__ import annotations

import signal
import sys

import demo
import gateway
import gpu
import job
import spark
import start
import training
from side_by_side import show

import course

PARTS = {
    "start": start.measure,
    "gateway": gateway.measure,
    "gpu": gpu.measure,
    "spark": spark.measure,
    "job": job.measure,
    "training": training.measure,
    "course": course.measure,
    "demo": demo.measure,
}


def main(wanted: list[str]) -> int:
    """The exit status: 1 when a figure is over its limit."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whatever is up is taken down, as after Ctrl-C
    lines = [line for name, measure in PARTS.items() if not wanted or name in wanted for line in measure()]
    show(lines)
    return int(any(line.over for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
