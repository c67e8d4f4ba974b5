"""The labs: notebooks without leftovers, whose cells are Python and use what the library has, and their solutions."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import occam
import pytest
from occam.checks import Wrong, check, filled, near, number
from occam.labs import size

COURSE = Path(__file__).parents[3] / "course"
LABS, SOLUTIONS = COURSE / "labs", COURSE / "solutions"
DOCS = COURSE.parent / "docs"
MODULES = {"checks", "errors", "higgs", "labs", "picture"}
"""What a lab imports of the library besides its names."""


def cells(lab: Path) -> list[dict[str, Any]]:
    return list(json.loads(lab.read_text())["cells"])


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    return list(cell["metadata"].get("tags", []))


def code(lab: Path) -> list[dict[str, Any]]:
    return [cell for cell in cells(lab) if cell["cell_type"] == "code"]


def name(lab: Path) -> str:
    return f"{lab.parent.name}/{lab.name}"


notebooks = pytest.mark.parametrize("lab", sorted([*LABS.glob("*.ipynb"), *SOLUTIONS.glob("*.ipynb")]), ids=name)
numbered = pytest.mark.parametrize("lab", sorted(LABS.glob("[0-9][0-9]-*.ipynb")), ids=name)


@notebooks
def test_a_lab_is_delivered_without_anybodys_results(lab: Path) -> None:
    assert not [cell for cell in cells(lab) if cell.get("outputs") or cell.get("execution_count")]
    assert len({cell["id"] for cell in cells(lab)}) == len(cells(lab))


@notebooks
def test_its_cells_are_python_that_uses_what_the_library_has(lab: Path) -> None:
    text = "\n".join(map(source, code(lab)))
    ast.parse(text)
    assert set(re.findall(r"\boccam\.(\w+)", text)) <= set(dir(occam)) | MODULES
    for table in re.findall(r"occam\.data\.(\w+)", text):
        assert f"def {table}(" in (COURSE / "lib" / "occam" / "data.py").read_text()


@numbered
def test_lab_and_solution_differ_in_the_exercises_alone(lab: Path) -> None:
    mine, solved = cells(lab), cells(SOLUTIONS / lab.name)
    assert len(mine) == len(solved)
    for one, other in zip(mine, solved, strict=True):
        if "exercise" in tags(one):
            assert one | {"source": ""} == other | {"source": ""}
            assert "..." in source(one)
            assert source(one) != source(other)
        else:
            assert one == other


@numbered
def test_each_exercise_has_a_check_of_the_library(lab: Path) -> None:
    found = code(lab)
    exercises = [number for number, cell in enumerate(found) if "exercise" in tags(cell)]
    assert exercises
    module = f"lab{lab.name[:2]}"
    known = importlib.import_module(f"occam.checks.{module}")
    for at in exercises:
        assert "check" in tags(found[at + 1]), source(found[at])
        called = re.search(rf"\b{module}\.(\w+)\(", source(found[at + 1]))
        assert called, source(found[at + 1])
        assert callable(getattr(known, called[1]))


@numbered
def test_it_says_how_long_it_takes_and_has_sizes_and_an_end(lab: Path) -> None:
    assert re.search(r"\*\*Time:\*\* \d+ minutes", source(cells(lab)[0])), "in the first cell"
    text = "\n".join(source(cell) for cell in cells(lab) if cell["cell_type"] == "markdown")
    assert "## Summary" in text
    assert [cell for cell in code(lab) if "sizes" in tags(cell)]


@numbered
def test_what_is_left_to_try_is_not_left_without_workers(lab: Path) -> None:
    found = cells(lab)
    last_stop = max(at for at, cell in enumerate(found) if "spark.stop()" in source(cell))
    for at, text in enumerate(map(source, found)):
        if "**Yours to try.**" in text and lab.stem != "05-keras":  # which needs none
            assert at < last_stop or "workers again" in text, text


@numbered
def test_its_page_shows_it_as_it_is(lab: Path) -> None:
    page = (DOCS / "labs" / f"{lab.stem}.md").read_text()
    at = 0
    for cell in cells(lab):
        text = source(cell).strip()
        block = text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        at = page.find(block, at)
        assert at >= 0, f"not in the page, or not in its place; run: make labs\n{block}"


@numbered
def test_the_instructors_notes_have_its_time_and_its_sizes(lab: Path) -> None:
    number, notes = int(lab.name[:2]), (DOCS / "howto" / "teach.md").read_text()
    stated = re.search(r"\*\*Time:\*\* (\d+) minutes", source(cells(lab)[0]))
    listed = re.search(rf"^\| {number} · [^|]+\| (\d+)", notes, re.MULTILINE)
    assert stated
    assert listed
    assert listed[1] == stated[1]
    found = re.search(rf"^## Lab {number} · .*?(?=^## |\Z)", notes, re.MULTILINE | re.DOTALL)
    assert found
    assert re.search(r"^\*\*Time\.\*\* ", found[0], re.MULTILINE)
    assert re.search(r"^\*\*Sizes\.\*\* 10 students: .+? 30: .+? 100: ", found[0], re.MULTILINE)
    sizes = "\n".join(source(cell) for cell in code(lab) if "sizes" in tags(cell))
    assert set(re.findall(r"`([A-Z]+) = ", found[0])) <= set(re.findall(r"^([A-Z]+) = ", sizes, re.MULTILINE))


def test_the_demos_lab_ends_with_one_line_for_machines() -> None:
    assert 'print("OCCAM-LAB", json.dumps(' in source(code(LABS / "flights.ipynb")[-1])


def test_sizes_are_small_where_the_tests_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCCAM_LABS", raising=False)
    assert size(full=100, quick=1) == 100
    monkeypatch.setenv("OCCAM_LABS", "quick")
    assert size(full=100, quick=1) == 1


def test_a_check_says_what_is_not_filled_in_and_what_cannot_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    @check
    def three(answer: Any) -> str:
        near(answer + 0, 3, "the sum")
        return "the sum is right"

    three(3)
    assert capsys.readouterr().out == "✓ the sum is right\n"
    for wrong, words in ((..., "still ..."), (None, "None"), (4, "the sum is 4"), ("3", "raises TypeError")):
        with pytest.raises(Wrong, match=words) as told:
            three(wrong)
        assert told.value.fix or words == "the sum is 4"
    with pytest.raises(Wrong, match="a part"):
        filled([1, ...], "a part")
    with pytest.raises(Wrong, match="no number"):
        number([])
