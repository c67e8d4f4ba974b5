"""`occamctl course …`, `occamctl status` and `occamctl logs`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from occamctl.cli.options import Config, Output, Yes, sure

if TYPE_CHECKING:
    from occamctl.actions.down import Found

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def plan(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Show what `up` would do; nothing is changed.  Example: occamctl course plan -o json"""
    from occamctl.actions.session import open_course

    with open_course(config) as session:
        from occamctl import render  # while the connections are made
        from occamctl.actions import up as action

        steps = action.plan(session)
    if output == "table":
        render.plan(steps)
        for remark in session.remarks:
            render.note(remark)
    else:
        render.data(
            [{"stage": one.stage.title, "kind": one.kind, "host": one.host, "what": one.what} for one in steps], output
        )


@app.command()
def up(config: Config = Path("occam.yaml"), yes: Yes = False) -> None:
    """Bring the course up, or up to date.  Example: occamctl course up -y"""
    from occamctl.actions.session import open_course

    with open_course(config) as session:
        from occamctl import render  # while the connections are made
        from occamctl.actions import up as action

        steps = action.plan(session)
        if steps:
            render.plan(steps)
            for remark in session.remarks:
                render.note(remark)
            if not yes and not sure("Do this?"):
                render.line("Nothing was done.")
                raise typer.Exit(1)
        # With nothing to do there is nothing to draw, and what draws takes a while to import.
        with render.progress(session.hosts) if steps else nullcontext(lambda *_: None) as say:
            made = action.up(session, say, steps)
    for warning in made.warnings:
        render.note(f"warning: {warning}")
    if not made.done:
        render.line("Nothing to do: everything is as the course file says.")
    for username, password in made.passwords.items():
        render.line(f"first password of {username}: {password}")
    if made.passwords_file:
        render.line(f"First passwords are in {made.passwords_file} (only you can read it).")
    render.line(f"The course is at {made.url}")


@app.command()
def url(config: Config = Path("occam.yaml")) -> None:
    """Print the address for students.  Example: xdg-open $(occamctl course url)"""
    from occamctl import render
    from occamctl.actions import readiness
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        session.gather_facts()
        render.line(readiness.url(session))


@app.command()
def status(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """What runs where, who is there, and what is wrong.  Example: occamctl course status -o json"""
    from occamctl import render
    from occamctl.actions.session import open_course
    from occamctl.actions.status import status as look

    with open_course(config) as session:
        seen = look(session)
    render.status(seen.as_dict(), output)
    if seen.wrong:
        raise typer.Exit(1)


@app.command()
def logs(
    piece: Annotated[str, typer.Argument(help="hub, proxy, gateway, a user's name, or a service.")],
    config: Config = Path("occam.yaml"),
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="Last lines only; 0 for all.")] = 200,
) -> None:
    """What a piece of the course printed.  Example: occamctl logs hub -n 50"""
    from occamctl import render
    from occamctl.actions.logs import logs as read
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        for line in read(session, piece, tail or None):
            render.line(line)


@app.command()
def down(
    config: Config = Path("occam.yaml"),
    yes: Yes = False,
    discard_work: Annotated[bool, typer.Option("--discard-work", help="Also when homes hold students' files.")] = False,
    keep_images: Annotated[bool, typer.Option("--keep-images", help="Leave the images, for a quick next up.")] = False,
) -> None:
    """Remove the course from every host.  Example: occamctl course down --discard-work"""
    from occamctl import render
    from occamctl.actions import down as action
    from occamctl.actions.session import open_course

    with open_course(config) as session:
        found = action.find(session)
        if not discard_work:
            action.refuse_to_lose(found)
        if found.empty and not session.errors:
            render.line("Nothing to do: nothing of this course is on its hosts.")
            return
        _show(found)
        if not yes and not sure("Remove all this?"):
            render.line("Nothing was done.")
            raise typer.Exit(1)
        with render.progress() as say:
            action.down(session, say, keep_images=keep_images)
    render.line(f"Course {session.course.course} is gone from {', '.join(session.machines)}.")


def _show(found: Found) -> None:
    from occamctl import render

    rows = [
        {"host": host, **{kind: len(there) for kind, there in vars(left).items() if isinstance(there, tuple)}}
        for host, left in found.hosts.items()
    ]
    render.table("To be removed", list(rows[0]) if rows else [], rows)
    for home in found.homes:
        render.line(f"with the work of {home.owner}: {home.files} files")
    for name, hosts in found.data.items():
        render.line(f"with the data set {name} on {', '.join(hosts)}; occamctl data add brings it again")
    if found.gpus:
        render.line(f"with what host prepare --gpu brought to {', '.join(found.gpus)}")
