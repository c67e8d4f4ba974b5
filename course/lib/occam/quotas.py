"""What a student holds, may hold, and could have now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from occam import show

_COLUMNS = {"held": "you hold", "limit": "you may hold", "guarantee": "sure to be yours", "free_on_hosts": "free now"}


class Quota(Mapping[str, Mapping[str, Any]]):
    """`quota["workers"]["limit"]`: a number, or None where there is no limit. Memory in bytes."""

    def __init__(self, said: Mapping[str, Mapping[str, Any]]) -> None:
        self._said = said

    def __getitem__(self, what: str) -> Mapping[str, Any]:
        return self._said[what]

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)

    def rows(self) -> dict[str, dict[str, str]]:
        """What there is a word to say of, by its name: held, limit, …, as people read them."""
        return {what: dict(self._row(what, numbers)) for what, numbers in self._said.items()}

    def _row(self, what: str, numbers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for key, column in _COLUMNS.items():
            if key in numbers and not (numbers[key] is None and key != "limit"):
                yield column, _amount(what, numbers[key])
        for one in numbers.get("shared", ()):
            yield f"all of {one['of']}", f"{_amount(what, one['held'])} of {_amount(what, one['limit'])}"

    def __repr__(self) -> str:
        lines = [
            f"{what}: " + ", ".join(f"{column} {amount}" for column, amount in row.items())
            for what, row in self.rows().items()
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = self.rows()
        columns = dict.fromkeys([*_COLUMNS.values(), *(column for row in rows.values() for column in row)])
        return show.grid("Your quota", list(columns), rows)


def _amount(what: str, number: Any) -> str:
    if number is None:
        return "no limit"
    if what == "memory":
        return show.size(int(number)) if number else "0 GB"
    return f"{number:g}"
