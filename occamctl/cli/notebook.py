"""`occamctl notebook …`: people's notebook servers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from occamctl.cli.options import Config, Output, TheirExit

app = typer.Typer(no_args_is_help=True, add_completion=False)
Username = Annotated[str, typer.Argument(help="Whose notebook.", show_default=False)]
_COLUMNS = ("user", "state", "node", "since", "message")


@app.command("list")
def list_(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Notebooks, where they run and since when.  Example: occamctl notebook list -o json"""
    from occamctl import render
    from occamctl.actions import notebooks
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        rows = notebooks.listed(session)
    if output == "table":
        rows = [row | {"since": str(row.get("since") or "")[:19].replace("T", " ")} for row in rows]
    render.table("", _COLUMNS, rows, output)


@app.command()
def start(username: Username, config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Start somebody's notebook and wait until it answers.  Example: occamctl notebook start anna.rossi"""
    from occamctl import render
    from occamctl.actions import notebooks
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        made = notebooks.start(session, username)
    if output != "table":
        render.data(made, output)
    else:
        render.line(f"The notebook of {username} runs on {made.get('node') or 'its host'}.")


@app.command()
def stop(username: Username, config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Stop somebody's notebook with its kernels; files stay.  Example: occamctl notebook stop anna.rossi"""
    from occamctl import render
    from occamctl.actions import notebooks
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        made = notebooks.stop(session, username)
    if output != "table":
        render.data(made, output)
    else:
        render.line(f"The notebook of {username} is stopped; the files are there at the next start.")


@app.command()
def logs(
    username: Username,
    config: Config = Path("occam.yaml"),
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="Last lines only; 0 for all.")] = 200,
) -> None:
    """What somebody's notebook server printed.  Example: occamctl notebook logs anna.rossi -n 50"""
    from occamctl import render
    from occamctl.actions import notebooks
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        text = notebooks.logs(session, username, tail or None)
    for line in text.splitlines():
        render.line(line)


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def exec_(
    username: Username,
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.", show_default=False)],
    config: Config = Path("occam.yaml"),
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass standard input on.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that it may take.")] = 600,
) -> None:
    """Run a command in somebody's notebook, as that person; ends with its exit status.

    Options come first.  Example: occamctl notebook exec -c occam.yaml anna.rossi ls -l labs
    """
    from occamctl.actions import notebooks
    from occamctl.actions.session import open_course

    if command[0] == "--" and len(command) > 1:  # as ssh and kubectl take it
        command = command[1:]
    given = sys.stdin.buffer.read() if stdin else b""
    with open_course(config) as session:
        ran = notebooks.run(session, username, command, given, timeout)
    sys.stdout.buffer.write(ran.out)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(ran.err)
    raise TheirExit(ran.code)


@app.command()
def url(username: Username, config: Config = Path("occam.yaml")) -> None:
    """Print the address of somebody's notebook.  Example: occamctl notebook url anna.rossi"""
    from occamctl import render
    from occamctl.actions import notebooks
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        session.gather_facts()
        render.line(notebooks.url(session, username))
