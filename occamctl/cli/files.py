"""`occamctl init` and `occamctl validate`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from occamctl.cli.options import Config, Output, answer
from occamctl.errors import SpecError

Target = Literal["machine", "hosts", "sandbox"]
_CHOICES: dict[Target, str] = {
    "machine": "on this machine's Docker engine",
    "hosts": "on hosts reached over SSH",
    "sandbox": "on pretend hosts of `occamctl sandbox`",
}


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; made when it is not there.")] = Path(),
    target: Annotated[
        Target | None, typer.Option("--for", help="Where the course will run; asked for when left away.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The course's name; without: the folder's.")] = "",
) -> None:
    """Write a commented course file and a roster.  Example: occamctl init ml-2026 --for hosts"""
    from occamctl import render
    from occamctl.actions.init import start

    made = start(folder, target or _asked(), name)
    render.line(f"Wrote {made.file}" + ("" if made.kept_roster else f" and {made.roster}"))
    if made.kept_roster:
        render.line(f"{made.roster} was there and is as it was.")
    where = "" if folder == Path() else f" -c {shlex.quote(str(made.file))}"
    render.line("Next: change both as you like, then")
    for command in ("validate", "course plan", "course up"):
        render.line(f"  occamctl {command}{where}")


def _asked() -> Target:
    """Ask on a terminal; without one it is this machine."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "machine"
    for number, text in enumerate(_CHOICES.values(), 1):
        typer.echo(f"  {number}  {text}")
    chosen = answer("Where will the course run? [1]: ") or "1"
    targets = dict(zip(("1", "2", "3"), _CHOICES, strict=True))
    if chosen not in targets:
        raise SpecError(f"{chosen} is none of these", fix="answer 1, 2 or 3, or say --for")
    return targets[chosen]


def validate(
    config: Config = Path("occam.yaml"),
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema, for editors.")] = False,
    output: Output = "table",
) -> None:
    """Check the course file and the roster; no host is touched.  Example: occamctl validate -c ml.yaml"""
    from occamctl import render
    from occamctl.actions import validate as action
    from occamctl.spec import load

    if schema:
        render.data(load.schema(), "json" if output == "table" else output)
        return
    try:
        course = load.load(config)
        action.check_material(course, str(config))
        said = action.summary(course)
    except SpecError as error:
        if output == "table":
            raise
        render.data({"valid": False, "errors": [one.as_dict() for one in (error, *error.others)]}, output)
        raise typer.Exit(error.exit_code) from None
    if output == "table":
        render.table("", ["of", "what"], action.rows(said))
        render.line(f"{config} is right.")
    else:
        render.data({"valid": True, **said}, output)
