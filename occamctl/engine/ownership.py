"""What is ours on an engine is told by its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from occamctl.errors import EngineError
from occamctl.spec import names

Change = Literal["created", "updated", "unchanged"]


def by_label(labels: Mapping[str, str]) -> dict[str, list[str]]:
    """A filter as the engine's API takes it."""
    return {"label": [f"{key}={value}" for key, value in labels.items()]}


def must_be_ours(there: Mapping[str, str] | None, wanted: Mapping[str, str], what: str, host: str) -> None:
    """Raises EngineError when the thing with our name carries another course's label, or none."""
    if (there or {}).get(names.COURSE) != wanted.get(names.COURSE):
        raise EngineError(
            f"{what} is there already and does not belong to this course",
            where=host,
            fix="give the course another name, or remove it",
        )
