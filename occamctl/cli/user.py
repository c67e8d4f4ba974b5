"""`occamctl user …`: who may sign in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from occamctl.cli.options import Config, Output

app = typer.Typer(no_args_is_help=True, add_completion=False)
Username = Annotated[str, typer.Argument(help="User name, exactly as it is written.", show_default=False)]


@app.command("list")
def list_(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Who may sign in.  Example: occamctl user list -o json"""
    from occamctl import render
    from occamctl.actions import users
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        rows = users.rows(session)
    render.table("", ["username", "role", "group", "name", "email", "account"], rows, output)


@app.command()
def add(
    username: Username,
    name: Annotated[str, typer.Option(help="How the person is called.")] = "",
    email: Annotated[str, typer.Option(help="Where the person is reached.")] = "",
    group: Annotated[str, typer.Option(help="A group of quotas.groups.")] = "",
    instructor: Annotated[bool, typer.Option("--instructor", help="With an instructor's rights and quota.")] = False,
    config: Config = Path("occam.yaml"),
) -> None:
    """Let somebody in, at once.  Example: occamctl user add anna.rossi --name "Anna Rossi" """
    from occamctl import render
    from occamctl.actions import users
    from occamctl.actions.session import open_course

    role = "instructor" if instructor else "student"
    with open_course(config, manager_only=True) as session:
        session.all_here()
        person = users.person(username, name=name, email=email, group=group)
        made = users.add(session, person, role)
    render.line(f"first password of {username}: {made.password}")
    if made.roster:
        render.note(f"added to {made.roster}")
    elif not made.agrees:
        where = "instructors" if instructor else "students"
        render.note(f"add {username} to {where}: in {config} too; the next course up removes who is not there")


@app.command()
def remove(username: Username, config: Config = Path("occam.yaml")) -> None:
    """End somebody's account, sessions and notebook; the home stays.  Example: occamctl user remove anna.rossi"""
    from occamctl import render
    from occamctl.actions import users
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        gone = users.remove(session, username)
        volume = session.names.home(username)
    render.line(f"{username} cannot sign in any more; files, if any, stay in the volume {volume}.")
    if gone.roster:
        render.note(f"taken out of {gone.roster}")
    elif not gone.agrees:
        render.note(f"take {username} out of {config} too, or the next course up makes a new account")


@app.command()
def password(
    username: Username,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the new password from standard input.")] = False,
    config: Config = Path("occam.yaml"),
) -> None:
    """Give somebody a new password, and print it once.  Example: occamctl user password anna.rossi"""
    from occamctl import render
    from occamctl.actions import users
    from occamctl.actions.session import open_course
    from occamctl.errors import SpecError

    given = sys.stdin.readline().rstrip("\r\n") if stdin else ""
    if stdin and not given:
        raise SpecError("no password on standard input", where=username)
    with open_course(config, manager_only=True) as session:
        session.all_here()
        made = users.set_password(session, username, given)
    render.line(f"{username} has the new password." if stdin else f"new password of {username}: {made}")
