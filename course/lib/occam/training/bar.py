"""What a student sees while a network trains: a line for each epoch, the running one with a bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from html import escape
from typing import Any

from occam import kernel
from occam.training.result import samples

_LINES = 12
"""Epochs that are shown at a time; the result has them all."""


class Bar:
    """A display of the running cell that changes, twice a second; in a plain Python a line when an epoch ends."""

    def __init__(self, epochs: int, workers: int) -> None:
        self._epochs, self._workers = epochs, workers
        self._handle: Any = None
        self._lines: list[str] = []
        self._drawn, self._said = 0.0, ""
        if kernel.in_notebook():
            from IPython.display import display

            self._handle = display(_both("", ""), raw=True, display_id=True)

    def say(self, words: str) -> None:
        """What goes on before the first step, or between two epochs."""
        if words == self._said:
            return
        self._said = words
        if self._handle is None:
            print(f"training: {words}", file=sys.stderr, flush=True)
        self._draw(escape(words), words)

    def step(self, epoch: int, done: int, steps: int, loss: float, rate: float) -> None:
        now = time.monotonic()
        if self._handle is None or now - self._drawn < 0.5:
            return
        self._drawn, self._said = now, ""
        words = f"step {done} of {steps} · loss {loss:.4g} · {samples(rate)}"
        bar = f'<progress value="{done}" max="{max(steps, 1)}" style="vertical-align:middle;width:12em"></progress>'
        self._draw(f"{self._name(epoch)} {bar} {escape(words)}", f"{self._name(epoch)}: {words}")

    def epoch(self, epoch: int, logs: Mapping[str, float], seconds: float, rate: float) -> None:
        """One is done."""
        told = " · ".join(f"{name} {value:.4g}" for name, value in logs.items())
        line = f"{self._name(epoch)}: {seconds:.1f} s · {told} · {samples(rate)}"
        self._lines.append(line)
        self._said = ""
        if self._handle is None:
            print(line, file=sys.stderr, flush=True)
        self._draw("", line)

    def end(self) -> None:
        """Take away the line of what goes on; those of the epochs stay."""
        self._draw("", "\n".join(self._lines[-_LINES:]))

    def _name(self, epoch: int) -> str:
        return f"epoch {epoch + 1} of {self._epochs}"

    def _draw(self, now: str, text: str) -> None:
        if self._handle is None:
            return
        before = [f"… {len(self._lines) - _LINES} epochs before"] if len(self._lines) > _LINES else []
        lines = [escape(line) for line in [*before, *self._lines[-_LINES:]]] + ([now] if now else [])
        self._handle.update(_both("".join(f"<div>{line}</div>" for line in lines), text), raw=True)


def _both(html: str, text: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": text}
