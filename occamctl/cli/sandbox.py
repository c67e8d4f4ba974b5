"""`occamctl sandbox …`."""

from __future__ import annotations

from typing import Annotated

import typer

from occamctl.cli.options import Output

app = typer.Typer(no_args_is_help=True, add_completion=False)
Name = Annotated[str, typer.Option("--name", help="Name of the sandbox.")]


@app.command()
def up(
    hosts: Annotated[int, typer.Option("--hosts", min=1, max=8, help="How many pretend hosts.")] = 3,
    gpus: Annotated[int, typer.Option("--gpus", min=0, max=8, help="Simulated GPUs on each of them.")] = 0,
    name: Name = "sandbox",
) -> None:
    """Make pretend hosts on this machine, and a course file for them.  Example: occamctl sandbox up --hosts 3"""
    from occamctl import render
    from occamctl.actions import sandboxes

    with render.progress() as say:
        made = sandboxes.up(hosts, name, say, gpus=gpus)
    count = "1 host" if hosts == 1 else f"{hosts} hosts"
    render.line(f"{count}: {', '.join(made.addresses)} (user ops, key {made.key})")
    if gpus:
        render.line(f"GPUs that are simulated: {gpus} on each; tell the engines of them:")
        render.line(f"  occamctl host prepare --gpu -c {made.folder / 'occam.yaml'}")
    render.line(f"Next: occamctl course up -c {made.folder / 'occam.yaml'}")


@app.command("list")
def list_sandboxes(output: Output = "table") -> None:
    """Pretend hosts on this machine.  Example: occamctl sandbox list"""
    from occamctl import render, sandbox

    render.table("", ["sandbox", "host", "address", "gpus", "state", "course_file"], sandbox.listed(), output)


@app.command()
def down(name: Name = "sandbox") -> None:
    """Remove pretend hosts and all that is in them.  Example: occamctl sandbox down"""
    from occamctl import render, sandbox

    with render.progress() as say:
        there = sandbox.down(name, say)
    render.line(f"Sandbox {name} is gone." if there else f"Nothing to do: there is no sandbox {name}.")
