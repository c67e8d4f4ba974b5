"""docs/labs: the labs as a class sees them, with their figures; an exercise is as it is delivered."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from occamctl.actions.student import Ran

from .lab_cells import Cell

PAGES = Path(__file__).parents[2] / "docs" / "labs"
_IN_HTML = re.compile(r'src="data:image/png;base64,([^"]+)"')
_END = "*Written by `make labs`: the lab as it looks when it has run. Exercises are left as students get them.*"
_LINES = 40
"""Of an output; a page is to be read."""


def write(name: str, seen: Iterable[tuple[Cell, Ran]]) -> Path:
    """Write the page and its figures over those that were there."""
    PAGES.mkdir(exist_ok=True)
    for old in PAGES.glob(f"{name}*"):
        old.unlink()
    figures: list[bytes] = []
    page = PAGES / f"{name}.md"
    page.write_text("\n\n".join([*_blocks(name, seen, figures), _END]) + "\n")
    for number, figure in enumerate(figures, 1):
        (PAGES / f"{name}-{number}.png").write_bytes(figure)
    return page


def _blocks(name: str, seen: Iterable[tuple[Cell, Ran]], figures: list[bytes]) -> Iterator[str]:
    for cell, ran in seen:
        yield cell.source.strip() if cell.text else f"```python\n{cell.source.strip()}\n```"
        if cell.text or cell.tags & {"exercise", "check"}:
            continue
        text = ""
        for data in ran.shown:
            found = _pictures(data)
            said = data.get("text/plain", "").rstrip("\n") + "\n"
            text += "" if "image/png" in data or said.startswith("<IPython.core.display") else said
            if found and text.strip():
                yield _fenced(text)
                text = ""
            for one in found:
                figures.append(one)
                yield f"![Figure {len(figures)} of this lab]({name}-{len(figures)}.png)"
        if text.strip():
            yield _fenced(text)


def _pictures(data: dict[str, Any]) -> list[bytes]:
    inside = [data["image/png"]] if "image/png" in data else _IN_HTML.findall(data.get("text/html", ""))
    return [base64.b64decode(one) for one in inside]


def _fenced(text: str) -> str:
    lines = text.strip("\n").split("\n")
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], "…"]
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```"
