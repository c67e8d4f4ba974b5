"""`occamctl sandbox …`."""

from __future__ import annotations

from typing import Annotated

import typer

from occamctl.cli.options import Output

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Option("--name", help="Name of the sandbox.")]


@app.command()
def up(
    hosts: Annotated[int, typer.Option("--hosts", min=1, max=8, help="How many pretend hosts.")] = 3,
    name: Name = "sandbox",
) -> None:
    """Make pretend hosts on this machine, and a course file for them.  Example: occamctl sandbox up --hosts 3"""
    from occamctl import render
    from occamctl.actions import sandboxes

    with render.progress() as say:
        made = sandboxes.up(hosts, name, say)
    count = "1 host" if hosts == 1 else f"{hosts} hosts"
    render.line(f"{count}: {', '.join(made.addresses)} (user ops, key {made.key})")
    render.line(f"Next: occamctl course up -c {made.folder / 'occam.yaml'}")


@app.command("list")
def list_sandboxes(output: Output = "table") -> None:
    """Pretend hosts on this machine.  Example: occamctl sandbox list"""
    from occamctl import render, sandbox

    render.table("", ["sandbox", "host", "address", "state", "course_file"], sandbox.listed(), output)


@app.command()
def down(name: Name = "sandbox") -> None:
    """Remove pretend hosts and all that is in them.  Example: occamctl sandbox down"""
    from occamctl import render, sandbox

    with render.progress() as say:
        there = sandbox.down(name, say)
    render.line(f"Sandbox {name} is gone." if there else f"Nothing to do: there is no sandbox {name}.")
