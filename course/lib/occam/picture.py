"""A cluster as a drawing, from what the gateway and the workers say now."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import Any

from occam import show

_WIDE, _TALL, _GAP = 2.6, 1.0, 0.35
_COLOURS = {"driver": "#f5d79b", "worker": "#a8cdec", "host": "#f2f2f2"}


class Picture:
    """A matplotlib figure that a notebook shows, also one that has not imported pyplot."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.figure.savefig(image, format="png", dpi=80)
        return image.getvalue()


def cluster(spark: Any) -> Picture:
    """The hosts, the workers' containers in them, and the driver in its notebook."""
    from matplotlib.figure import Figure

    there = spark.cluster.status()
    hosts: dict[str, list[Any]] = {}
    for one in there.executors:
        hosts.setdefault(one.host or "host not known", []).append(one)
    rows = max(map(len, hosts.values()), default=1)
    figure = Figure(figsize=(9, 1.4 + 1.1 * rows), layout="constrained")
    axes = figure.subplots()
    high = rows * (_TALL + _GAP) + 0.6
    middle = high / 2
    memory = int(os.environ.get("OCCAM_NOTEBOOK_MEMORY", 0))
    words = ["your notebook's container", f"Python kernel + Spark driver\n{show.size(memory)}"]
    _box(axes, 0, middle - 0.7, _WIDE + 0.3, 1.4, words, "driver")
    for column, (host, workers) in enumerate(sorted(hosts.items())):
        left = _WIDE + 2.0 + column * (_WIDE + 0.9)
        _box(axes, left - 0.2, 0, _WIDE + 0.4, high, [f"host {host}"], "host")
        for row, one in enumerate(workers):
            bottom = 0.2 + row * (_TALL + _GAP)
            size = f"{show.plural(there.cores, 'core')}, {show.size(there.memory)}"
            _box(
                axes,
                left,
                bottom,
                _WIDE,
                _TALL,
                [f"worker {one.id} · {one.state}", f"Spark executor, {size}"],
                "worker",
            )
            axes.plot([_WIDE + 0.3, left], [middle, bottom + _TALL / 2], color="0.6", lw=1, zorder=1 if column else 3)
    axes.set(xlim=(-0.2, _WIDE + 2.0 + max(len(hosts), 1) * (_WIDE + 0.9)), ylim=(-0.2, high + 0.2))
    axes.set_axis_off()
    return Picture(figure)


def _box(axes: Any, x: float, y: float, wide: float, tall: float, words: list[str], kind: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    layer = 0 if kind == "host" else 4
    style = {"boxstyle": "round,pad=0,rounding_size=0.12", "facecolor": _COLOURS[kind], "edgecolor": "0.5"}
    axes.add_patch(FancyBboxPatch((x, y), wide, tall, zorder=layer, **style))
    axes.text(
        x + wide / 2, y + tall - 0.1, words[0], ha="center", va="top", weight="bold", fontsize=9, zorder=layer + 1
    )
    for line in words[1:]:
        axes.text(x + wide / 2, y + tall / 2 - 0.12, line, ha="center", va="center", fontsize=8, zorder=layer + 1)


def timeline(tasks: Iterable[tuple[str, float, float]]) -> Picture:
    """What ran where and when: (worker, start, end) of each task, in seconds of a clock."""
    from matplotlib.figure import Figure

    listed = sorted(tasks)
    workers = sorted({worker for worker, _, _ in listed})
    first = min(start for _, start, _ in listed)
    figure = Figure(figsize=(8, 0.9 + 0.45 * len(workers)), layout="constrained")
    axes = figure.subplots()
    for number, (worker, start, end) in enumerate(listed):
        colour = "#4c8fc9" if number % 2 else "#8fbde3"
        axes.barh(workers.index(worker), end - start, left=start - first, height=0.7, color=colour, edgecolor="white")
    axes.set(yticks=range(len(workers)), yticklabels=workers, xlabel="seconds since the first one began")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return Picture(figure)
