"""Write the pages of docs/reference that come from the code: python docs/generate.py"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperGroup

from occamctl.cli.main import app
from occamctl.errors import BY_EXIT_CODE
from occamctl.spec import course, units
from occamctl.spec import words as course_words
from occamctl.spec.complaints import section_in
from occamctl.spec.course import Course, Section

HERE = Path(__file__).parent / "reference"
GENERATED = "<!-- Written by docs/generate.py from the code; change it there. -->\n\n"
_FROM_TEXT = {
    units.seconds: "duration",
    units.size: "size",
    course._path: "path",
    course_words.release: "date, or mapping",
}
_PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", SecretStr: "text"}
_SHOWN = {"duration": units.human_seconds, "size": units.human_size}


def course_file() -> str:
    """The page of the course file's keys."""
    lines = [
        "# What can stand in the course file?",
        "",
        "One file describes a course. Unknown keys are errors, with their place and the nearest key that exists;",
        "keys that begin with `x-` are ignored (a place for YAML anchors). `${VAR}` and `${VAR:-default}` come from",
        "the environment, `$$` is a dollar. Durations are `90s 30m 2h 7d`, sizes `512M 4G` (powers of 1024), paths are",
        "relative to the file's folder. `occamctl validate` checks a file and its roster without touching a host;",
        "`occamctl validate --schema` prints a JSON Schema for editors. A file with every key, commented:",
        "[occam.yaml.example](../../occam.yaml.example).",
        "",
    ]
    for path, section, set_ in _sections("", Course, None):
        lines += [f"## {path or 'First level'}", "", (section.__doc__ or "").strip().splitlines()[0], ""]
        lines += ["| key | what | default | meaning |", "|---|---|---|---|"]
        lines += [_row(name, field, getattr(set_, name, field.default)) for name, field in section.model_fields.items()]
        lines.append("")
    return GENERATED + "\n".join(lines)


def _sections(
    path: str, section: type[Section], default: Section | None
) -> Iterator[tuple[str, type[Section], Section | None]]:
    """Every section with its path, and what stands for it when it is left away."""
    yield path, section, default
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        if inner is not None and (path or name != "instructors"):  # a person is described once, under students
            many = {list: "[]", dict: ".*"}.get(typing.get_origin(field.annotation), "")
            given = field.default if isinstance(field.default, Section) else None
            yield from _sections(f"{path}.{name}{many}".lstrip("."), inner, given)


def _row(name: str, field: FieldInfo, default: object) -> str:
    kind = _kind(field)
    if field.is_required():
        shown = "**needed**"
    elif default in (None, "", [], {}, PydanticUndefined) or isinstance(default, Section):
        shown = ""
    else:
        shown = f"`{_SHOWN.get(kind, _as_yaml)(default)}`"
    return f"| `{field.alias or name}` | {kind} | {shown} | {field.description} |"


def _as_yaml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    if isinstance(value, Section):
        given = value.model_dump(exclude_defaults=True)
        return f"{{{', '.join(f'{key}: {_as_yaml(one)}' for key, one in given.items())}}}"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _kind(field: FieldInfo) -> str:
    return _kind_of(field.annotation, field.metadata)


def _kind_of(annotation: Any, metadata: typing.Iterable[object] = ()) -> str:
    for one in metadata:
        if isinstance(one, BeforeValidator) and one.func in _FROM_TEXT:
            return _FROM_TEXT[one.func]
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        return _kind_of(inner, more)
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if typing.get_origin(annotation) is list:
        return f"list of {_many(typing.get_args(annotation)[0])}"
    if typing.get_origin(annotation) is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "section"
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    inside = [one for one in typing.get_args(annotation) if one is not type(None)]
    return " or ".join(dict.fromkeys(map(_kind_of, inside))) if inside else annotation.__name__


def _many(annotation: Any) -> str:
    one = _kind_of(annotation)
    return {"section": "sections", "text": "texts"}.get(one, f"{one}s")


def commands() -> str:
    """The page of every command, with its arguments and options."""
    root = typer.main.get_command(app)
    lines = ["# Which commands are there?", ""]
    lines += ["Every command shows the same with `--help`. `--debug` before it shows the traceback of an error.", ""]
    for words, command in _commands(root, ()):
        lines += [f"## {' '.join(('occamctl', *words))}", ""]
        lines += [_text(command.help), ""]
        table = [
            _parameter(one) for one in command.params if one.name != "help" and not one.name.endswith("completion")
        ]
        if table:
            lines += ["| argument or option | meaning | default |", "|---|---|---|", *table, ""]
    return GENERATED + "\n".join(lines)


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(command, TyperGroup):
        yield words, command
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        if words:
            yield from _commands(command.get_command(context, name), (*words, name))
        else:  # a stub at this level is resolved when it is called
            yield from _commands(command.resolve_command(context, [name])[1], (name,))


def _text(help_: str | None) -> str:
    text = " ".join((help_ or "").split())
    said, _, example = text.partition(" Example: ")
    return f"{said.strip()}\n\n    {example.strip()}" if example else text


def _parameter(one: Any) -> str:
    if one.param_type_name == "argument":
        name = f"`{one.metavar or one.name.upper()}`" + ("" if one.required else " (optional)")
    else:
        name = ", ".join(f"`{flag}`" for flag in (*one.opts, *one.secondary_opts))
        name += "" if one.is_flag else f" {_cell(_asks(one.type_descriptor.annotation))}"
    nothing = one.default in (None, False, (), "") or callable(one.default)
    return f"| {name} | {_cell(one.help or '')} | {'' if nothing else f'`{one.default}`'} |"


def _asks(annotation: Any) -> str:
    """What an option takes: `table|json`, `PATH`, `INT`."""
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(typing.get_args(annotation))
    inside = [one for one in typing.get_args(annotation) if one is not type(None)]
    if inside:
        return f"{_asks(inside[0])}{' …' if typing.get_origin(annotation) is list else ''}"
    return {"str": "TEXT"}.get(annotation.__name__, annotation.__name__.upper())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def exit_codes() -> str:
    """The page of exit codes."""
    lines = ["# What does the exit code say?", "", "| code | meaning |", "|---|---|", "| 0 | done |"]
    for code, kind in sorted(BY_EXIT_CODE.items()):
        meaning = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
        lines.append(f"| {code} | {meaning if code > 1 else 'it failed; the message says why'} |")
    lines += ["| 130 | interrupted (Ctrl-C); the same command again goes on |", ""]
    lines += [
        "Errors are on standard error: what is wrong and where, and, in a second line, how to mend it. With `--debug`",
        "before the command the traceback follows. `occamctl validate -o json` gives them as data on standard output.",
        "",
        "`occamctl spark submit` and `occamctl notebook exec` end with the exit code of the program that they ran,",
        "whatever it is, once it has run. `submit` says so in its last line on standard error; an error of occamctl",
        "begins with `error:` there. `occamctl spark ui` is ended by Ctrl-C with 0.",
        "",
    ]
    return GENERATED + "\n".join(lines)


PAGES = {"course-file.md": course_file, "commands.md": commands, "exit-codes.md": exit_codes}


def main() -> None:
    for name, page in PAGES.items():
        (HERE / name).write_text(page())


if __name__ == "__main__":
    main()
