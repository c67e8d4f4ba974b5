"""A lab and its solution, cell beside cell, and how a student goes through them in one kernel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from occamctl.actions.student import Kernel, Ran

COURSE = Path(__file__).parents[2] / "course"
LABS = sorted(file.stem for file in (COURSE / "labs").glob("[0-9][0-9]-*.ipynb"))
QUICK = "import os; os.environ['OCCAM_LABS'] = 'quick'"


@dataclass(frozen=True)
class Cell:
    """A cell of a lab, with what the solution has in its place."""

    source: str
    solved: str
    tags: frozenset[str] = frozenset()
    text: bool = False


def read(lab: dict[str, Any], solution: dict[str, Any]) -> list[Cell]:
    return [
        Cell(
            "".join(one["source"]),
            "".join(other["source"]),
            frozenset(one["metadata"].get("tags", [])),
            one["cell_type"] == "markdown",
        )
        for one, other in zip(lab["cells"], solution["cells"], strict=True)
    ]


def solution(name: str) -> dict[str, Any]:
    return dict(json.loads((COURSE / "solutions" / f"{name}.ipynb").read_text()))


def go_through(kernel: Kernel, cells: list[Cell], seconds: float) -> list[tuple[Cell, Ran]]:
    """Run every cell, as solved; each exercise first as it is delivered, when its check must say Wrong.

    Returns what the student sees. Raises AssertionError with the cell and its output when one does what it should not.
    """
    code = [cell for cell in cells if not cell.text]
    results = {id(cell): Ran() for cell in cells}
    for cell, after in zip(code, [*code[1:], Cell("", "")], strict=True):
        if "exercise" in cell.tags:
            _run(kernel, cell.source, seconds)
            _must_be_wrong(kernel, after.source, seconds)
        results[id(cell)] = _run(kernel, cell.solved, seconds)
        if "check" in cell.tags:
            assert results[id(cell)].text.startswith("✓ "), f"{cell.source}\n---\n{results[id(cell)].text}"
    return [(cell, results[id(cell)]) for cell in cells]


def _run(kernel: Kernel, source: str, seconds: float) -> Ran:
    ran = kernel.run(source, seconds=seconds)
    assert not ran.error, f"this cell failed:\n{source}\n---\n{ran.text[-2000:]}\n{ran.error[-4000:]}"
    return ran


def _must_be_wrong(kernel: Kernel, source: str, seconds: float) -> None:
    """What the check says of an exercise that is not filled in: a line and a hint, no traceback."""
    ran = kernel.run(source, seconds=seconds)
    assert ran.error.startswith("Wrong: "), f"not Wrong, though left empty:\n{source}\n---\n{ran.text}\n{ran.error}"
    assert "Traceback" not in ran.error, ran.error
