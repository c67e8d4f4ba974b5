"""`occamctl host …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from occamctl.cli.options import Config, Output

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command("list")
def list_hosts(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Cores, memory, disk, GPUs, engine, role and load of every host.  Example: occamctl host list -o json"""
    from occamctl import render
    from occamctl.actions import hosts as action
    from occamctl.actions.session import open_course

    with open_course(config) as session:
        rows = action.rows(session)
        columns = ["host", "role", "cores", "memory", "disk", "gpus", "engine", "load", "state"]
        render.table("", columns, rows, output)
        for row in rows:
            if row.get("fix") and row["host"] not in session.errors:
                render.note(f"{row['host']}: {row['state']}; {row['fix']}")
        action.raise_errors(session.errors)


@app.command()
def prepare(
    config: Config = Path("occam.yaml"),
    gpu: Annotated[bool, typer.Option("--gpu", help="Also what their GPUs need; see: occamctl gpu check.")] = False,
    restart_engine: Annotated[
        bool, typer.Option("--restart-engine", help="Restart an engine for its GPUs although containers run there.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take away what prepare brought.")] = False,
) -> None:
    """Install a container engine where there is none, set the rules for containers, make GPUs ready.

    Example: occamctl host prepare --gpu
    """
    from occamctl import render
    from occamctl.actions import hosts as action
    from occamctl.actions.session import open_course

    with open_course(config) as session:
        with render.progress(session.machines) as say:
            if undo:
                done = action.undo(session, say, may_restart=restart_engine)
            else:
                done = action.prepare(session, say, gpu=gpu, may_restart=restart_engine)
        nothing = "nothing of ours is there" if undo else "an engine runs already; nothing to do"
        for host, did in done.items():
            render.line(f"{host}: {', '.join(did) if did else nothing}")
        action.raise_errors(session.errors)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    command: Annotated[list[str], typer.Argument(help="The command and its words, after --.")],
    config: Config = Path("occam.yaml"),
    sudo: Annotated[bool, typer.Option("--sudo", help="As root.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds that it may take.")] = 60,
) -> None:
    """Run a command on every host.  Example: occamctl host exec -- uptime"""
    from occamctl import render
    from occamctl.actions import hosts as action
    from occamctl.actions.session import open_course

    with open_course(config) as session:
        done = action.run(session, command, sudo=sudo, seconds=timeout)
        for host, ran in done.items():
            for line in (ran.stdout + ran.stderr).splitlines():
                render.line(f"{host}: {line}")
            if ran.code:
                render.note(f"{host}: exit {ran.code}")
        action.raise_errors(session.errors)
        if any(ran.code for ran in done.values()):
            raise typer.Exit(1)
