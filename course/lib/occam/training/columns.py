"""Which columns of a DataFrame are what, from their names and types as Spark writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from occam.errors import Refused
from occam.training.forms import Form

_NUMBER = re.compile(r"(tinyint|smallint|int|bigint|float|double|boolean|decimal\(.*\))")
_ARRAY = re.compile(r"array<(.+)>")
Names = str | Sequence[str] | None


@dataclass(frozen=True)
class Column:
    """`kind` is Spark's type of a number, or that of the numbers in it when it holds several."""

    name: str
    kind: str
    several: bool = False
    vector: bool = False
    """Whether it is one of pyspark.ml's vectors."""


@dataclass(frozen=True)
class Choice:
    """The columns that make x, y and the rows' weights."""

    features: tuple[Column, ...]
    label: tuple[Column, ...]
    weight: Column | None = None

    @property
    def lengths_wanted(self) -> list[Column]:
        """Those whose length only a row can tell."""
        return [one for one in (*self.features, *self.label) if one.several]

    @property
    def all(self) -> tuple[Column, ...]:
        return (*self.features, *self.label, *([self.weight] if self.weight else []))

    @property
    def is_plain(self) -> bool:
        """Whether these are numbers and arrays of numbers as any library reads them."""
        return not any(one.vector or one.kind.startswith("decimal") for one in self.all)

    def is_in(self, types: Sequence[tuple[str, str]] | None) -> bool:
        """Whether these columns are there, and of the same types."""
        there = dict(types or [])
        wanted = {one.name: f"array<{one.kind}>" if one.several else one.kind for one in self.all}
        return all(there.get(name) == kind for name, kind in wanted.items())

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, when each is one number."""
        return () if any(one.several for one in self.features) else tuple(one.name for one in self.features)

    def forms(self, lengths: Mapping[str, int]) -> dict[str, Form]:
        """How the rows look, when columns that hold several numbers hold so many."""
        features = sum(lengths.get(one.name, 1) for one in self.features)
        labels = sum(lengths.get(one.name, 1) for one in self.label)
        one_label = len(self.label) == 1 and not self.label[0].several
        found = {"x": Form("float32", (features,)), "y": Form(self.label_kind, () if one_label else (labels,))}
        return found | ({"w": Form("float32")} if self.weight else {})

    @property
    def label_kind(self) -> str:
        """NumPy's name of y's type: whole numbers stay whole, as Keras keeps them in arrays."""
        whole = {"tinyint": "int32", "smallint": "int32", "int": "int32", "boolean": "int32", "bigint": "int64"}
        return whole.get(self.label[0].kind, "float32") if len(self.label) == 1 else "float32"


def choose(
    types: Sequence[tuple[str, str]], features: Names, label: Names, weight: str | None, what: str = "data"
) -> Choice:
    """What to train on, of columns given as (name, type); `features` None: all that is neither label nor weight.

    Raises Refused when a column is not there, or holds no numbers.
    """
    there = dict(types)
    labels = _list(label) or ["label"]
    for one in [*labels, *_list(features), *([weight] if weight else [])]:
        if one not in there:
            raise Refused(
                f"the {what} has no column {one!r}; it has {', '.join(there) or 'none'}",
                'say which: label="…", features=["…", "…"]' if what == "data" else "give it the columns of the data",
            )
    chosen = _list(features) or [one for one in there if one not in labels and one != weight]
    if not chosen:
        raise Refused("there are no columns besides the label to learn from")
    if both := [one for one in chosen if one in labels]:
        raise Refused(f"{both[0]!r} is both feature and label: the network would learn nothing but that")
    found = Choice(
        tuple(_column(one, there[one]) for one in chosen),
        tuple(_column(one, there[one]) for one in labels),
        _column(weight, there[weight]) if weight else None,
    )
    if found.weight and (found.weight.several or (len(found.label) > 1 and any(one.several for one in found.label))):
        raise Refused(f"the weight {found.weight.name!r} must be one number for each row")
    return found


def _column(name: str, kind: str) -> Column:
    if _NUMBER.fullmatch(kind):
        return Column(name, kind)
    if kind in ("vector", "vectorudt"):
        return Column(name, "double", several=True, vector=True)
    inside = _ARRAY.fullmatch(kind)
    if inside and _NUMBER.fullmatch(inside[1]):
        return Column(name, inside[1], several=True)
    raise Refused(
        f"the column {name!r} holds {_in_words(kind)}, and a network takes numbers",
        'make it numbers (pyspark.ml.feature has StringIndexer and OneHotEncoder), or leave it out: features=["…"]',
    )


def _in_words(kind: str) -> str:
    return {"string": "text", "date": "dates", "timestamp": "times"}.get(kind, kind)


def _list(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
