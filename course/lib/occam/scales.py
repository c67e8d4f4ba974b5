"""How a piece of work scales: its time against the number of workers, speed-up, efficiency, and Amdahl's fit.

Strong scaling is the same work on more workers: speed-up S(n) = T(1) / T(n), efficiency S(n) / n, and Amdahl's law
T(n) = a + b / n, whose part that does not get faster is a / (a + b) (Amdahl 1967). Weak scaling is work that grows with
the workers: efficiency T(1) / T(n), and the speed-up n T(1) / T(n) is Gustafson's (1988).
"""

from __future__ import annotations

import base64
import inspect
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from occam import show
from occam.errors import Refused
from occam.wish import count

COLUMNS = ("workers", "seconds", "fastest", "slowest", "speed-up", "efficiency")


@dataclass(frozen=True)
class Point:
    """The runs with one number of workers; times in seconds."""

    workers: int
    times: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return statistics.median(self.times)


@dataclass(frozen=True)
class Scaling:
    """What was measured, by workers, fewest first; `weak`: the work grew with the workers."""

    points: tuple[Point, ...]
    weak: bool = False

    def speed_up(self, point: Point) -> float:
        """How many times as fast as one worker, taking the fewest that were tried for perfectly efficient."""
        return point.workers * self.efficiency(point)

    def efficiency(self, point: Point) -> float:
        """1: every worker does as much as when there were fewest of them."""
        first = self.points[0]
        if self.weak:
            return first.seconds / point.seconds
        return first.workers * first.seconds / (point.workers * point.seconds)

    @property
    def serial(self) -> float | None:
        """Amdahl's part that more workers do not make faster, 0 to 1; None when too little was measured for a fit."""
        line = self._line()
        return None if line is None else line[0] / (line[0] + line[1])

    @property
    def most(self) -> float | None:
        """The speed-up that Amdahl's law leaves for any number of workers."""
        return 1 / self.serial if self.serial else None

    def _line(self) -> tuple[float, float] | None:
        """a and b of T(n) = a + b / n, by least squares over all runs; neither is less than 0."""
        runs = [(1 / point.workers, took) for point in self.points for took in point.times]
        if self.weak or len(self.points) < 2:
            return None
        x, y = statistics.fmean(one for one, _ in runs), statistics.fmean(took for _, took in runs)
        slope = sum((one - x) * (took - y) for one, took in runs) / sum((one - x) ** 2 for one, _ in runs)
        slope = min(max(slope, 0.0), y / x)
        return y - slope * x, slope

    def table(self) -> list[dict[str, float]]:
        """One row for each number of workers."""
        return [
            dict(
                zip(
                    COLUMNS,
                    (
                        one.workers,
                        one.seconds,
                        min(one.times),
                        max(one.times),
                        self.speed_up(one),
                        self.efficiency(one),
                    ),
                    strict=True,
                )
            )
            for one in self.points
        ]

    def plot(self) -> Any:
        """A matplotlib figure: time and speed-up against workers, with the ideal and Amdahl's curve."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3.2), layout="constrained")
        times, ups = figure.subplots(1, 2)
        workers = [one.workers for one in self.points]
        for one in self.points:
            times.plot([one.workers] * len(one.times), one.times, "o", color="tab:blue", alpha=0.5)
        times.plot(workers, [one.seconds for one in self.points], color="tab:blue", label="median")
        ups.plot(workers, [self.speed_up(one) for one in self.points], "o-", color="tab:blue", label="measured")
        ups.plot([workers[0], workers[-1]], [workers[0], workers[-1]], ":", color="gray", label="ideal")
        if (line := self._line()) is not None:
            a, b = line
            fine = [workers[0] + (workers[-1] - workers[0]) * step / 50 for step in range(51)]
            times.plot(fine, [a + b / n for n in fine], "--", color="tab:orange", label="Amdahl's law")
            ups.plot(fine, [(a + b) / (a + b / n) for n in fine], "--", color="tab:orange", label="Amdahl's law")
        for axes, title in ((times, "seconds"), (ups, "speed-up")):
            axes.set(xlabel="workers", ylabel=title, xticks=workers, ylim=(0, None))
            axes.legend(frameon=False)
        return figure

    @property
    def words(self) -> str:
        """What it means, in a sentence."""
        last = self.points[-1]
        told = f"{show.plural(last.workers, 'worker')}: {self.speed_up(last):.2f} times as fast"
        told += f", efficiency {self.efficiency(last):.0%}"
        if self.serial is None:
            return told
        most = f"at most {self.most:.1f} times" if self.most else "no limit in sight"
        return f"{told}; Amdahl's part that does not get faster is {self.serial:.0%}: {most}"

    def __repr__(self) -> str:
        rows = [
            [f"{value:g}" if key == "workers" else f"{value:.2f}" for key, value in row.items()] for row in self.table()
        ]
        widths = [max(len(name), *(len(row[column]) for row in rows)) for column, name in enumerate(COLUMNS)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (COLUMNS, *rows)
        ]
        return "\n".join([*lines, self.words])

    def _repr_html_(self) -> str:
        rows = {f"{row['workers']:g}": {name: f"{row[name]:.2f}" for name in COLUMNS[1:]} for row in self.table()}
        image = io.BytesIO()
        self.plot().savefig(image, format="png", dpi=96)
        data = base64.b64encode(image.getvalue()).decode()
        picture = f'<img alt="{escape(self.words)}" src="data:image/png;base64,{data}">'
        return f"{show.grid('Workers', list(COLUMNS[1:]), rows)}<div>{escape(self.words)}</div>{picture}"


def scaling(
    function: Callable[..., object],
    workers: Sequence[int] = (1, 2, 4),
    repeat: int = 3,
    *,
    weak: bool = False,
    name: str | None = None,
    timeout: float = 180,
) -> Scaling:
    """Run `function(spark)` `repeat` times with each number of workers, after one run that is not counted.

    weak     call `function(spark, workers)` instead: it does so many times as much work
    name     the cluster, the current one when left away; it has as many workers afterwards as before, and is stopped if
             there was none
    timeout  seconds that workers may take to come

    The largest number comes first, so that what a quota does not allow is refused at once. Raises Refused, NotEnough.
    """
    asked, rounds = _numbers(workers), count("repeat", repeat)
    if weak and len(inspect.signature(function).parameters) < 2:
        raise Refused(
            "weak scaling calls function(spark, workers)", "let it take both, and do `workers` times the work"
        )
    from occam import held, session

    current = held.current()
    name = name or (current.wish.name if current else "lab")
    had = {one.name: one.workers for one in session.clusters()}.get(name)
    points: list[Point] = []
    try:
        for number in reversed(asked):
            spark = session.spark(workers=number, name=name, timeout=timeout)
            arguments = (spark, number) if weak else (spark,)
            if not points:
                function(*arguments)  # classes, caches and connections of the first run are nobody's work
            took = tuple(_timed(function, arguments) for _ in range(rounds))
            points.append(Point(number, took))
            print(f"{show.plural(number, 'worker')}: {', '.join(f'{one:.2f}' for one in took)} s", flush=True)
    finally:
        if had:
            session.spark(workers=had, name=name, timeout=timeout)
        elif held.of(name):
            session.stop(name)
        if current in held.all_of_them():
            held.make_current(current)
    return Scaling(tuple(reversed(points)), weak)


def _numbers(workers: Sequence[int]) -> list[int]:
    numbers = sorted({count("workers", one) for one in workers})
    if not numbers:
        raise Refused("no number of workers", "write workers=[1, 2, 4]")
    return numbers


def _timed(function: Callable[..., object], arguments: tuple[object, ...]) -> float:
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began
