"""The course file's JSON Schema, for editors that complete and check while one writes."""

from __future__ import annotations

from typing import Any

from occamctl.spec.course import Course

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{.+\}"}
_FROM_ENVIRONMENT = ("integer", "number", "boolean")
_BARE_NAMES = {"Host": "hostname", "Student": "username"}


def schema() -> dict[str, Any]:
    """The schema as JSON Schema, draft 2020-12."""
    made = Course.model_json_schema(by_alias=True)
    for name, section in ((None, made), *made["$defs"].items()):
        section.pop("title", None)
        section["patternProperties"] = {"^x-": {}}
        section["properties"] = {key: _property(value) for key, value in section["properties"].items()}
        if name in _BARE_NAMES:
            made["$defs"][name] = {"anyOf": [{"type": "string"}, section]}
    students = made["properties"]["students"]
    made["properties"]["students"] = {
        "description": students.pop("description"),
        "anyOf": [{"type": "string"}, students],
    }
    return {"$schema": DIALECT, "title": "The course file of occamctl", **made}


def _property(value: dict[str, Any]) -> dict[str, Any]:
    """A property without pydantic's titles; a number or a flag may also be a variable, an empty value is as none."""
    value = {
        key: part
        for key, part in value.items()
        if key not in ("title", "writeOnly") and (key, part) != ("format", "path")
    }
    if value.get("type") in _FROM_ENVIRONMENT:
        said: dict[str, Any] = {key: value.pop(key) for key in ("description", "default") if key in value}
        return {**said, "anyOf": [value, _VARIABLE]}
    return value
