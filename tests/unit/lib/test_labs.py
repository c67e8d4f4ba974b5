"""The labs: notebooks without leftovers, whose cells are Python and use what the library has."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import occam
import pytest

LABS = Path(__file__).parents[3] / "course" / "labs"


def cells(lab: Path) -> list[dict[str, Any]]:
    return list(json.loads(lab.read_text())["cells"])


def code(lab: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(lab) if cell["cell_type"] == "code"]


labs = pytest.mark.parametrize("lab", sorted(LABS.glob("*.ipynb")), ids=lambda lab: lab.name)


@labs
def test_a_lab_is_delivered_without_anybodys_results(lab: Path) -> None:
    assert not [cell for cell in cells(lab) if cell.get("outputs") or cell.get("execution_count")]
    assert len({cell["id"] for cell in cells(lab)}) == len(cells(lab))


@labs
def test_its_cells_are_python_that_uses_what_the_library_has(lab: Path) -> None:
    text = "\n".join(code(lab))
    ast.parse(text)
    assert set(re.findall(r"\boccam\.(\w+)", text)) <= set(dir(occam))
    for table in re.findall(r"occam\.data\.(\w+)", text):
        assert f"def {table}(" in (LABS.parent / "lib" / "occam" / "data.py").read_text()


def test_the_first_lab_ends_with_one_line_for_machines() -> None:
    assert 'print("OCCAM-LAB", json.dumps(' in code(LABS / "00-flights.ipynb")[-1]
