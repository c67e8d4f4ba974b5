"""The published JSON Schema agrees with what the loader takes and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from occamctl.errors import SpecError
from occamctl.spec.complaints import keys_of, section_in
from occamctl.spec.course import Course, Section
from occamctl.spec.load import load, load_text, schema

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "occam.yaml.example"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


def as_json(text: str) -> Any:
    """YAML as an editor sees it: dates are text."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in there if not tag.endswith(":timestamp")]
        for first, there in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(text, Loader)


def every_key(section: type[Section]) -> set[str]:
    found = set(keys_of(section))
    for field in section.model_fields.values():
        inner = section_in(field.annotation)
        found |= every_key(inner) if inner else set()
    return found


def test_the_example_is_a_course_and_fits_the_schema(validator: jsonschema.Draft202012Validator) -> None:
    load(EXAMPLE)
    validator.validate(as_json(EXAMPLE.read_text()))


def test_the_example_names_every_key() -> None:
    text = EXAMPLE.read_text()
    assert [key for key in sorted(every_key(Course)) if f"{key}:" not in text] == []


def test_every_key_is_described() -> None:
    made = schema()
    sections = [made, *(one["anyOf"][1] if "anyOf" in one else one for one in made["$defs"].values())]
    lacking = [
        key
        for one in sections
        for key, said in one["properties"].items()
        if not said.get("description") and "$ref" not in said
    ]
    assert lacking == []


HEAD = "version: 1\ncourse: ml\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        HEAD + "x-anything: {a: 1}\nhub: {x-note: 1, port: '${PORT:-8000}'}\n",
        HEAD + "students: [anna, {username: b, x-shoe: 42}]\nhosts: [n1, {hostname: n2, manager: true}]\n",
        HEAD + "notebook: {mem_limit: 4G, idle_timeout: 90}\nimage: {from: a/b:1}\n",
        HEAD + "quotas: {groups: {phd: {workers: 2}}}\n",
    ],
)
def test_both_take(text: str, validator: jsonschema.Draft202012Validator) -> None:
    load_text(text, environment={})
    validator.validate(as_json(text))


@pytest.mark.parametrize(
    "more",
    [
        "hosts: n1\n",
        "hub: {prot: 1}\n",
        "hub: {port: 0}\n",
        "hub: {port: many}\n",
        "hosts: [{manager: maybe, hostname: a}]\n",
        "hosts: [{port: 22}]\n",
        "students: [{name: x}]\n",
        "notebook: {cpu_limit: 0}\n",
        "image: {from_: x}\n",
        "quotas: {groups: {phd: {worker: 1}}}\n",
    ],
)
def test_both_refuse(more: str, validator: jsonschema.Draft202012Validator) -> None:
    with pytest.raises(SpecError):
        load_text(HEAD + more, environment={})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(as_json(HEAD + more))
