"""What a training leaves: the trained model, its curves, and how long it took. Pure but for the model it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

from occam import show
from occam.training import curves


@dataclass
class Result:
    """What `occam.train` returns.

    losses           of each step, the mean over its whole batch
    history          of each quantity its value after each epoch, as Keras' History has it
    model            the trained network, in this notebook
    workers          ranks that trained
    rows             of the training data
    seconds          of each epoch, the slowest rank's; validation and callbacks are not in it
    worker_seconds   of each epoch, those of each rank
    until_first      seconds from the call until the first epoch began to train
    digest           SHA-256 of the weights in the end; those of all ranks are the same after each epoch
    resumed          how often it began again after a worker was lost
    stopped          whether a callback ended it before its last epoch
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list, repr=False)
    model: Any = field(default=None, repr=False)
    workers: int = 0
    rows: int = 0
    seconds: list[float] = field(default_factory=list)
    worker_seconds: list[list[float]] = field(default_factory=list)
    until_first: float = 0.0
    digest: str = ""
    resumed: int = 0
    stopped: bool = False

    @property
    def epochs(self) -> int:
        return len(self.seconds)

    @property
    def samples_per_second(self) -> float:
        """Rows that all ranks together trained on in a second."""
        return self.rows * self.epochs / sum(self.seconds) if sum(self.seconds) else 0.0

    def facts(self) -> dict[str, str]:
        last = {name: values[-1] for name, values in self.history.items()}
        told = {
            "epochs": f"{self.epochs}{', ended by a callback' if self.stopped else ''}",
            "workers": str(self.workers),
            "time": f"{sum(self.seconds):.1f} s, {samples(self.samples_per_second)}",
            "at the end": ", ".join(f"{name} {value:.4g}" for name, value in last.items()),
        }
        if self.resumed:
            told["resumed"] = f"{show.plural(self.resumed, 'time')}, after a worker was lost"
        return told

    def __repr__(self) -> str:
        return f"<training; {'; '.join(f'{key}: {value}' for key, value in self.facts().items())}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in self.facts().items()
        )
        style = "<style scoped>.occam-training th,.occam-training td{text-align:left;padding:.1em 1.2em .1em 0}</style>"
        return f'<div class="occam-training">{style}<table>{rows}</table>{curves.svg(self.history)}</div>'


def samples(rate: float) -> str:
    """`45,300 samples/s`."""
    return f"{rate:,.0f} samples/s" if rate >= 10 else f"{rate:.2g} samples/s"
