"""`occamctl demo`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def demo(
    hosts: Annotated[
        int, typer.Option("--hosts", min=0, max=8, help="Pretend hosts over SSH; 0 takes this machine's engine.")
    ] = 0,
    down: Annotated[bool, typer.Option("--down", help="Remove the demo; the machine is as it was found.")] = False,
) -> None:
    """A whole course on this machine, with a student who trains on real data.  Example: occamctl demo --hosts 3"""
    from occamctl import render
    from occamctl.actions import demo as action

    if down:
        with render.progress() as say:
            did = action.undo(say)
        render.line(f"Removed: {', '.join(did)}." if did else "Nothing to do: there is no demo.")
        return
    with render.progress() as say:
        made = action.demo(hosts, say, lambda text: print(text, end="", file=sys.stderr, flush=True))
    render.line()
    render.table("What runs where", ["piece", "kind", "host"], made.pieces)
    render.line()
    rows = [{"step": step, "seconds": f"{seconds:.1f}"} for step, seconds in made.seconds.items()]
    render.table("How long it took", ["step", "seconds"], rows)
    render.line()
    lab = made.lab
    where = f"{lab['workers']} workers on {', '.join(lab['hosts'])}"
    render.line(f"The lab: AUC {lab['auc']:.3f} on {lab['rows']:,} rows with {where}")
    render.line(f"Open {made.url} and sign in as {made.username} with the password {made.password}")
    render.line(f"The course file: {made.folder / 'occam.yaml'}")
    render.line("It ends with: make demo-down (or: occamctl demo --down)")
