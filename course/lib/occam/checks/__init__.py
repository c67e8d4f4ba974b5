"""The labs' self-checks, one module for each lab.

A check takes what a student made. It prints one line, or raises Wrong: what is wrong, and a hint at why that may be.
It does not tell the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from occam.errors import OccamError


class Wrong(OccamError):
    """An answer is not right yet."""


def check(function: Callable[..., str]) -> Callable[..., None]:
    """A check: `function` returns what there is to say when all is well, and calls `must` on the way.

    What is not filled in, and what cannot be used at all, is told before and after, so that no check needs to.
    """

    @wraps(function)
    def checked(*answers: Any) -> None:
        for answer in answers:
            filled(answer)
        try:
            said = function(*answers)
        except OccamError:
            raise
        except Exception as error:  # noqa: BLE001 what a student hands over may be anything, and do anything
            first = str(error).partition("\n")[0]
            raise Wrong(
                f"this cannot be checked, it raises {type(error).__name__}: {first}",
                "is it of the kind that the task asks for?",
            ) from None
        print(f"✓ {said}")

    return checked


def filled(answer: Any, what: str = "the answer") -> Any:
    """The answer itself. Raises Wrong when it, or a part of it, is still `...`, or None."""
    if answer is None:
        raise Wrong(f"{what} is None", "does your function end with return? show() and print() give None as well")
    parts = answer.values() if isinstance(answer, Mapping) else answer if isinstance(answer, (list, tuple)) else ()
    if answer is ... or any(part is ... for part in parts):
        raise Wrong(f"{what} is still ...", "fill in the cell above, run it, then run this one again")
    return answer


def must(holds: object, what: str, hint: str = "") -> None:
    """Raises Wrong with these words unless it `holds`."""
    if not holds:
        raise Wrong(what, hint)


def number(answer: Any, what: str = "the answer") -> float:
    """A number of Python's or NumPy's. Raises Wrong when it is none."""
    filled(answer, what)
    try:
        return float(answer)
    except (TypeError, ValueError):
        raise Wrong(f"{what} is no number: {answer!r:.60}", "a count is df.count(), not df") from None


def near(answer: Any, right: float, what: str, hint: str = "", *, off: float = 1e-6) -> None:
    """Raises Wrong unless the number is `right`, or `off` from it at most, as a part of it."""
    got = number(answer, what)
    must(abs(got - right) <= off * max(abs(right), 1e-12), f"{what} is {got:g}, and that is not it", hint)
