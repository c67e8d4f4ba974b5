"""`occamctl gpu …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from occamctl.cli.options import Config, Output

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _() -> None: ...  # a group stays one that has a single command


@app.command()
def check(
    config: Config = Path("occam.yaml"),
    host: Annotated[str, typer.Option("--host", help="This host only.")] = "",
    output: Output = "table",
) -> None:
    """Which GPUs each host has, and what is missing before they can be given out.  Example: occamctl gpu check"""
    from occamctl import render
    from occamctl.actions import gpus as action
    from occamctl.actions.hosts import raise_errors
    from occamctl.actions.session import open_course
    from occamctl.errors import HostError

    with open_course(config) as session:
        rows = action.check(session, host)
        if output == "table":
            for line in (line for row in rows for line in action.lines(row)):
                render.line(line)
        else:
            render.data(rows, output)
        raise_errors(session.errors)
    if any(row["missing"] for row in rows):
        raise typer.Exit(HostError.exit_code)
