"""pydantic's errors in a person's words: the key's path, what is wrong with it, the nearest key that exists."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from occamctl.spec.course import Course, Section
from occamctl.spec.nearest import nearest
from occamctl.spec.tree import Node, Place, shown

Path = tuple[str | int, ...]

_KINDS = {
    "missing": "is missing",
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is too large a number",
    "int_from_float": "is not a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "is not a number",
    "float_type": "must be a number",
    "finite_number": "is not a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a mapping, key: value",
    "model_type": "must be a mapping, key: value",
    "model_attributes_type": "must be a mapping, key: value",
}
_STAND_INS = {"version": "1", "course": "course"}


@dataclass(frozen=True)
class Complaint:
    """One error, and where it stands in the tree."""

    path: Path
    place: Place
    what: str
    fix: str


def complain(error: ValidationError, root: Node) -> list[Complaint]:
    """Every error of one validation."""
    return [_complaint(detail, root) for detail in error.errors(include_url=False)]


def find(root: Node, path: Sequence[str | int]) -> Node:
    """The node at `path`, or the deepest one on the way to it."""
    node = root
    for part in path:
        child = _child(node, part)
        if child is None:
            return node
        node = child
    return node


def called(root: Node, path: Sequence[str | int]) -> str:
    """`path` as a person writes it: `hosts[0].hostname`; in a roster file only the column."""
    node, text, file = root, "", root.place.file
    for part in path:
        child = _child(node, part)
        if child is None and node.text is not None:
            break  # a bare name that stands for a mapping
        if isinstance(part, int):
            text += f"[{child.number if child else part}]"
        else:
            text += f".{shown(part)}" if text else shown(part)
        if child is not None:
            if child.place.file != file:
                text, file = "", child.place.file
            node = child
    return text


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(part, int):
        return node.items[part] if node.items is not None and part < len(node.items) else None
    return node.entries.get(part) if node.entries is not None else None


def mend(root: Node, wrong: Sequence[Complaint]) -> bool:
    """Take the wrong parts out of the tree, so that the rest can be looked at; False when that is not possible."""
    targets = [_target(root, complaint.path) for complaint in wrong]
    for parent, part, child in targets:
        if parent.items is not None:
            parent.items = [one for one in parent.items if one is not child]
        elif parent is root and part in _STAND_INS:
            root.entries = {**(root.entries or {}), str(part): Node(root.place, text=_STAND_INS[str(part)])}
        elif parent.entries is not None and child is not None:
            parent.entries.pop(str(part), None)
        else:
            return False
    return True


def _target(root: Node, path: Path) -> tuple[Node, str | int, Node | None]:
    """The deepest node on the way to `path` that is there, with what holds it."""
    if len(path) == 1 and path[0] in _STAND_INS:
        return root, path[0], None
    parent, part, node = root, path[0] if path else "", None
    at = root
    for step in path:
        child = _child(at, step)
        if child is None:
            break
        parent, part, node, at = at, step, child, child
    return parent, part, node


def _complaint(detail: ErrorDetails, root: Node) -> Complaint:
    path = tuple(part for part in detail["loc"] if part != "[key]")
    node = find(root, path)
    what, fix = _said(detail, path, node)
    name = called(root, path)
    silent = node.broken and (detail["type"] == "missing" or node.empty)
    return Complaint(path, node.shown, "" if silent else f"{name}: {what}" if name else what, fix)


def _said(detail: ErrorDetails, path: Path, node: Node) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key", _known(path)
    if kind == "value_error":
        what, fix = str(context["error"]), str(getattr(context["error"], "fix", ""))
        return _without_secrets(what, node), _without_secrets(fix, node)
    if kind == "literal_error":
        return _without_secrets(f"{shown(str(detail['input']))!r} is not known", node), f"known: {context['expected']}"
    if kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        return _out_of_range(kind, context), ""
    if kind in ("string_too_long", "string_too_short"):
        return f"at most {context.get('max_length', 0)} characters", ""
    if kind.startswith("date"):
        return "is not a date", "write 2026-10-05"
    if kind == "missing" and node.empty:
        return "has no value", ""
    return _KINDS.get(kind, detail["msg"]), ""


def _out_of_range(kind: str, context: dict[str, Any]) -> str:
    words = {
        "greater_than_equal": "at least",
        "greater_than": "more than",
        "less_than_equal": "at most",
        "less_than": "less than",
    }
    (limit,) = context.values()
    return f"must be {words[kind]} {limit:g}"


def _without_secrets(text: str, node: Node) -> str:
    """What came from the environment is not shown."""
    return text.replace(node.text, node.raw) if node.text and node.from_environment else text


def _known(path: Path) -> str:
    """The nearest key that exists beside the unknown one, or elsewhere in the file, or all that exist."""
    section = _section(path[:-1])
    keys = keys_of(section) if section else []
    word = str(path[-1])
    near = nearest(word, keys)
    if near:
        return f"did you mean '{near}'?"
    elsewhere = next((name for name, keys_there in _sections().items() if word in keys_there), None)
    if elsewhere:
        return f"{shown(word)} belongs in {elsewhere}"
    return f"known keys: {', '.join(keys)}; keys that begin with x- are ignored"


def keys_of(section: type[Section]) -> list[str]:
    """The keys of a section as the file writes them."""
    return [field.alias or name for name, field in section.model_fields.items()]


def _sections() -> dict[str, list[str]]:
    """The sections of the file's first level, with their keys."""
    found = {name: _section((name,)) for name in keys_of(Course)}
    return {name: keys_of(section) for name, section in found.items() if section}


def _section(path: Path) -> type[Section] | None:
    """The class of the section at `path`."""
    section: type[Section] | None = Course
    annotation: Any = Course
    for part in path:
        if isinstance(part, int) or section is None:
            continue
        field = next((field for name, field in section.model_fields.items() if part in (field.alias, name)), None)
        if field is None:
            continue  # the key of a free mapping, such as quotas.groups.phd
        annotation = field.annotation
        section = section_in(annotation)
    return section


def section_in(annotation: Any) -> type[Section] | None:
    """The section that a type is made of: `list[Host]`, `Tls | None`, `dict[str, Quota]`."""
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, Section)
    ):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := section_in(part))), None)
