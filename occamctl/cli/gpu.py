"""`occamctl gpu …`: GPUs, and who has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from occamctl.cli.options import Config, Output

app = typer.Typer(no_args_is_help=True, add_completion=False)
Username = Annotated[str, typer.Argument(help="Whose notebook.", show_default=False)]
Wish = Annotated[str, typer.Argument(metavar="GPUS", help="How many; or a model (A100), or a MIG profile (1g.10gb).")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=64, help="So many of that model or profile.")]
Memory = Annotated[str, typer.Option(help="With at least so much memory each, such as 40G.")]
Restart = Annotated[bool, typer.Option("--restart", help="Replace the notebook if it runs; its kernels end.")]
_COLUMNS = ("host", "gpu", "memory", "state", "use", "holder", "until", "reserved")


@app.command("list")
def list_(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Every GPU that the hosts lend: its state, its use, and who has it.  Example: occamctl gpu list -o json"""
    from occamctl import render
    from occamctl.actions import gpu_shares as action
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        rows = action.listed(session)
        at = action.now(session.course)
    if output != "table":
        render.table("", (), rows, output)
        return
    shown = [action.row(one, at) for one in rows]
    # What nobody has takes no column: the others have more room.
    render.table("", [one for one in _COLUMNS if one in _COLUMNS[:4] or any(row[one] for row in shown)], shown)


@app.command()
def check(
    config: Config = Path("occam.yaml"),
    host: Annotated[str, typer.Option("--host", help="This host only.")] = "",
    deep: Annotated[bool, typer.Option("--deep", help="Also compute on every GPU that nobody holds.")] = False,
    output: Output = "table",
) -> None:
    """Which GPUs each host has, and what is missing before they can be given out.

    --deep needs a course that is up; it prints the speed of each GPU beside its host's CPUs.
    Example: occamctl gpu check --deep
    """
    from occamctl import render
    from occamctl.actions import gpu_speed
    from occamctl.actions import gpus as action
    from occamctl.actions.hosts import raise_errors
    from occamctl.actions.session import open_course
    from occamctl.errors import HostError

    with open_course(config) as session:
        rows = action.check(session, host)
        if output == "table":
            for line in (line for row in rows for line in action.lines(row)):
                render.line(line)
        raise_errors(session.errors)
        speeds = []
        if deep:
            with render.progress() as say:
                speeds = gpu_speed.measure(session, host, say)
            raise_errors(session.errors)
    if deep and output == "table":
        columns = ("host", "model", "gpu", "cpu", "times", "trouble")
        render.table("", columns, [gpu_speed.shown(row) for row in speeds])
    elif output != "table":
        render.data([{**row, "speed": [one for one in speeds if one["host"] == row["host"]]} for row in rows], output)
    if any(row["missing"] for row in rows) or any(row["trouble"] for row in speeds):
        raise typer.Exit(HostError.exit_code)


@app.command()
def assign(
    username: Username,
    gpus: Wish = "",
    for_: Annotated[str, typer.Option("--for", help="Such as 2h; without: until it is released.")] = "",
    count: Count = 1,
    memory: Memory = "",
    restart: Restart = False,
    config: Config = Path("occam.yaml"),
    output: Output = "table",
) -> None:
    """Give GPUs to somebody's notebook, which has them when it starts.

    They are held from now on. A notebook that runs has to start anew, which --restart does at once.
    Example: occamctl gpu assign anna.rossi 1 --for 2h
    """
    from occamctl import render
    from occamctl.actions import gpu_shares as action
    from occamctl.actions.session import open_course

    asked, lasts = action.wish(gpus, count, memory), action.seconds(for_) if for_ else None
    with open_course(config, manager_only=True) as session:
        session.all_here()
        made = action.assign(session, username, asked, lasts, restart=restart)
        at = action.now(session.course)
    if output != "table":
        render.data(made, output)
    else:
        render.line(action.told(made, at))


@app.command()
def release(
    username: Username, restart: Restart = False, config: Config = Path("occam.yaml"), output: Output = "table"
) -> None:
    """Take the GPUs of somebody's notebook back.

    Those that a notebook runs with are free when it stops; --restart starts it anew without them.
    Example: occamctl gpu release anna.rossi
    """
    from occamctl import render
    from occamctl.actions import gpu_shares as action
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        left = action.release(session, username, restart=restart)
        at = action.now(session.course)
    if output != "table":
        render.data(left, output)
    else:
        render.line(action.told(left, at))


@app.command()
def reserve(
    gpus: Wish = "",
    group: Annotated[str, typer.Option("--group", "-g", help="For the members of this group.")] = "",
    from_: Annotated[str, typer.Option("--from", help='now, 14:00, or "2026-10-05 14:00".')] = "now",
    for_: Annotated[str, typer.Option("--for", help="How long, such as 2h.")] = "2h",
    count: Count = 1,
    memory: Memory = "",
    config: Config = Path("occam.yaml"),
    output: Output = "table",
) -> None:
    """Keep GPUs for the members of a group, as for a class.

    Others who hold one of them are told ten minutes before, and lose it when the time begins. Times are those of
    term.timezone. Example: occamctl gpu reserve 2 --group phd --from 14:00 --for 2h
    """
    from occamctl import render
    from occamctl.actions import gpu_shares as action
    from occamctl.actions.session import open_course
    from occamctl.errors import SpecError

    if not group:
        raise SpecError("for which group?", where="--group", fix="--group NAME, one of quotas.groups or of the roster")
    asked, lasts = action.wish(gpus, count, memory), action.seconds(for_)
    with open_course(config, manager_only=True) as session:
        session.all_here()
        at = action.now(session.course)
        made = action.reserve(session, group, asked, action.moment(from_, at), lasts)
    if output != "table":
        render.data(made, output)
        return
    render.line(
        f"{made['id']}: {action.counted(made['gpus'])} for group {group} "
        f"from {action.shown(made['from'], at)} to {action.shown(made['to'], at)}"
    )


@app.command()
def reservations(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """What is reserved, for whom and when.  Example: occamctl gpu reservations"""
    from occamctl import render
    from occamctl.actions import gpu_shares as action
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        rows = action.reservations(session)
        at = action.now(session.course)
    if output == "table":
        rows = [
            {
                **row,
                "gpus": action.counted(row["gpus"]),
                "from": action.shown(row["from"], at),
                "to": action.shown(row["to"], at),
            }
            for row in rows
        ]
    render.table("", ("id", "group", "gpus", "from", "to"), rows, output)


@app.command()
def unreserve(
    reservation: Annotated[str, typer.Argument(metavar="ID", help="As gpu reservations shows it.")],
    config: Config = Path("occam.yaml"),
) -> None:
    """Take a reservation back.  Example: occamctl gpu unreserve 3fa2c1"""
    from occamctl import render
    from occamctl.actions import gpu_shares as action
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        action.unreserve(session, reservation)
    render.line(f"Reservation {reservation} is gone.")
