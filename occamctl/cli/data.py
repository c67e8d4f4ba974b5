"""`occamctl data …`: what every notebook and worker has under /data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from occamctl.cli.options import Config, Output, Yes, sure

app = typer.Typer(no_args_is_help=True, add_completion=False)
Name = Annotated[str, typer.Argument(help="Name of the set, its folder under /data.", show_default=False)]


@app.command("list")
def list_(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """The sets, and which hosts have them.  Example: occamctl data list -o json"""
    from occamctl import render
    from occamctl.actions import data as action
    from occamctl.actions.hosts import raise_errors
    from occamctl.actions.session import open_course

    with open_course(config) as session:
        rows = action.rows(session)
        render.table("", ["name", "rows", "size", "source", "state"], rows, output)
        raise_errors(session.errors)


@app.command()
def add(
    name: Name,
    source: Annotated[
        str, typer.Option("--from", help="https://…, or a file or folder here; else as the course file says.")
    ] = "",
    sha256: Annotated[str, typer.Option("--sha256", help="Of the source; another one is refused.")] = "",
    config: Config = Path("occam.yaml"),
) -> None:
    """Give every host a set, or mend it: interrupted, the same command goes on.

    Example: occamctl data add higgs --from HIGGS.csv.gz
    """
    from occamctl import render
    from occamctl.actions import data as action
    from occamctl.actions.session import open_course

    with open_course(config) as session, render.progress(session.hosts) as say:
        made = action.add(session, name, source, sha256, say)
    rows = made.manifest["rows"]
    render.line(f"/data/{name}: {f'{rows:,} rows' if rows else 'as it was'}, sha256 {made.manifest['sha256']}")
    if not made.fetched and not made.sent:
        render.line("Nothing to do: every host has it.")
    if not made.declared:
        render.note(f"write it under data: in {config}, and course up gives it to new hosts")


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="One set; all when left away.", show_default=False)] = "",
    config: Config = Path("occam.yaml"),
    output: Output = "table",
) -> None:
    """Read every file on every host, and say which host differs.  Example: occamctl data verify higgs"""
    from occamctl import render
    from occamctl.actions import data as action
    from occamctl.actions.hosts import raise_errors
    from occamctl.actions.session import open_course
    from occamctl.errors import OccamError

    with open_course(config) as session:
        with render.progress() as say:
            rows = action.verify(session, name, say)
        render.table("", ["name", "host", "state"], rows, output)
        raise_errors(session.errors)
    wrong = [
        OccamError(f"{row['name']}: {row['state']}", where=row["host"], fix=row["fix"]) for row in rows if row["fix"]
    ]
    if wrong:
        wrong[0].others = wrong[1:]
        raise wrong[0]


@app.command()
def remove(name: Name, config: Config = Path("occam.yaml"), yes: Yes = False) -> None:
    """Take a set from every host.  Example: occamctl data remove higgs -y"""
    from occamctl import render
    from occamctl.actions import data as action
    from occamctl.actions.session import open_course

    if not yes and not sure(f"Remove {name} from every host?"):
        render.line("Nothing was done.")
        raise typer.Exit(1)
    with open_course(config) as session, render.progress(session.hosts) as say:
        gone = action.remove(session, name, say)
        declared = any(one.name == name for one in session.course.data)
    render.line(f"{name} is gone from {', '.join(gone)}.")
    if declared:
        render.note(f"take it out of {config} too, or the next course up brings it again")
