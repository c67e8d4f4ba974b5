"""What can go wrong, in one or two lines that a student can read.

OccamError
├── Refused          the gateway said no
│   └── NotEnough    there is not enough free, or it is more than the quota
├── NotReached       the gateway did not answer
├── NotStarted       the cluster was granted, but driver or workers did not come up
├── TrainingFailed   a training ended before its last epoch
└── checks.Wrong     an answer in a lab is not right yet
"""

from __future__ import annotations

from typing import Any


class OccamError(Exception):
    """`what` happened and how to `fix` it; a notebook shows these words and no traceback."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what, self.fix = what, fix

    def __str__(self) -> str:
        return f"{self.what}\n  → {self.fix}" if self.fix else self.what

    def _render_traceback_(self) -> list[str]:
        """IPython prints these lines in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class Refused(OccamError):
    """The gateway said no."""


class NotEnough(Refused):
    """More than the quota, or more than is free."""


class NotReached(OccamError):
    """The gateway did not answer."""


class NotStarted(OccamError):
    """Driver or workers did not come up."""


class TrainingFailed(OccamError):
    """A training ended before its last epoch.

    trace   the traceback on the worker, if it was an exception of the student's code
    result  what came of it until the last whole epoch, as `occam.train` returns it
    """

    def __init__(self, what: str, fix: str = "", *, trace: str = "", result: Any = None) -> None:
        super().__init__(what, fix)
        self.trace, self.result = trace, result

    def _render_traceback_(self) -> list[str]:
        return [*super()._render_traceback_(), *([f"\nOn the worker:\n{self.trace}"] if self.trace else [])]


DOES_NOT_FIT = 4
"""The gateway's number for "not enough, or over quota"."""


def from_answer(status: int, body: dict[str, Any]) -> Refused:
    """The error that an answer of the gateway with an HTTP `status` of 400 or more holds."""
    said = body.get("error")
    if not isinstance(said, dict):
        return Refused(f"the gateway answered {status}")
    kind = NotEnough if said.get("exit_code") == DOES_NOT_FIT else Refused
    return kind(str(said.get("what") or f"the gateway answered {status}"), str(said.get("fix") or ""))
