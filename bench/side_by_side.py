"""Commands timed in turns, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One figure: what was measured, against what, and how much is too much."""

    what: str
    value: float
    limit: float
    unit: str = "x"
    detail: str = ""
    skipped: str = ""
    """Why it could not be measured here."""

    @property
    def over(self) -> bool:
        return not self.skipped and self.value > self.limit


def seconds(command: Sequence[str]) -> float:
    # What is installed was compiled once; where nothing may be kept, all would be compiled each time.
    there = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=300, env=there)
    return time.perf_counter() - start


def interleaved(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """The median of `rounds` runs of each, in seconds; one run of each before does not count."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(rounds + 1):
        for name, command in commands.items():
            spent = seconds(command)
            if round_:
                taken[name].append(spent)
    return {name: statistics.median(runs) for name, runs in taken.items()}


def ratio(what: str, ours: float, peer: float, limit: float) -> Line:
    return Line(what, ours / peer, limit, detail=f"{ours * 1000:.0f} ms to {peer * 1000:.0f} ms")


def show(lines: Sequence[Line]) -> None:
    for line in lines:
        if line.skipped:
            print(f"SKIP {line.what}: {line.skipped}")
        else:
            mark = "over" if line.over else "ok"
            print(f"{mark:4} {line.value:7.2f} {line.unit:3} (at most {line.limit:g}) {line.what}  {line.detail}")
