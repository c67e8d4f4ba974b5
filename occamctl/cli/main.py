"""The command line: every group of commands by name; a group's module is imported when one of its commands is used."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from occamctl import __version__
from occamctl.errors import INTERRUPTED, OccamError

_TEXTS = {
    "init": "Write a commented course file and a roster.",
    "validate": "Check the course file and the roster; no host is touched.",
    "status": "What runs where, who is there, and what is wrong.",
    "logs": "What a piece of the course printed.",
    "demo": "A whole course on this machine, with a student at work.",
    "course": "Plan, start, look at and end the course.",
    "host": "The machines of the course.",
    "gpu": "GPUs: what the hosts have and lend, and who has it.",
    "image": "The images of hub and notebooks.",
    "user": "Students and instructors.",
    "notebook": "Notebook servers of students.",
    "spark": "Spark clusters.",
    "data": "Data sets that every notebook and worker reads.",
    "sandbox": "Pretend hosts on this machine, to rehearse.",
}
_COMMANDS = {"init": "files", "validate": "files", "status": "course", "logs": "course", "demo": "demo"}
_GROUPS = ("course", "host", "gpu", "image", "user", "notebook", "spark", "data", "sandbox")


class Lazy(TyperGroup):
    """Names and short helps are known here; the module behind a name is imported when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_TEXTS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _stub(cmd_name) if cmd_name in _TEXTS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(str(command.name)), rest


def _stub(name: str) -> Any:
    """Enough of a command for the list in --help."""
    stub = typer.Typer()

    @stub.command(name, help=_TEXTS[name])
    def _() -> None: ...

    return typer.main.get_command(stub)


def _load(name: str) -> Any:
    module = importlib.import_module(f"occamctl.cli.{_COMMANDS.get(name, name)}")
    if name in _GROUPS:
        group: typer.Typer = module.app
        group.info.help = _TEXTS[name]
        command = typer.main.get_command(group)
        for one in command.commands.values():  # type: ignore[attr-defined]
            one.help = _in_paragraphs(one.help or "")
    else:
        single = typer.Typer(add_completion=False)
        single.command(name, help=getattr(module, name).__doc__ or _TEXTS[name])(getattr(module, name))
        command = typer.main.get_command(single)
        command.help = _in_paragraphs(command.help or "")
    command.name = name
    return command


def _in_paragraphs(text: str) -> str:
    """A command's help with its example in a line of its own, where it can be copied."""
    said, mark, example = text.partition("Example: ")
    parts = [" ".join(part.split()) for part in (*said.split("\n\n"), mark + example)]
    return "\n\n".join(part for part in parts if part)


app = typer.Typer(cls=Lazy, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"occamctl {__version__}")
        raise typer.Exit


@app.callback()
def occamctl(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """One course file and a few Docker hosts become a machine-learning course.

    Start with: occamctl init, then occamctl course up
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the only place that turns errors into exit codes."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    before = list(itertools.takewhile(lambda one: one.startswith("-"), arguments))
    debug = "--debug" in before  # after a command's name it may be somebody's program's
    try:
        app(args=arguments, standalone_mode=True)
    except OccamError as failure:
        from occamctl import render

        render.error(failure)
        if debug:
            traceback.print_exc()
        raise SystemExit(failure.exit_code) from None
    except SystemExit as end:
        if end.code != INTERRUPTED or type(end) is not SystemExit:
            raise
        raise KeyboardInterrupt from None  # Typer makes an exit of it
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
