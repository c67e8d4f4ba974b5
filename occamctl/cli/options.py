"""Options that many commands have, and the question before a change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

Config = Annotated[
    Path, typer.Option("--config", "-c", help="The course file; - reads standard input.", show_default=True)
]
Output = Annotated[Literal["table", "json", "yaml"], typer.Option("--output", "-o", help="How to print.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class TheirExit(SystemExit):
    """The exit code of somebody's program, handed on: whatever it is, it says nothing about occamctl."""


def sure(question: str) -> bool:
    """Ask before something is done. Raises SpecError when nobody is there to answer."""
    if not sys.stdin.isatty():
        from occamctl.errors import SpecError

        raise SpecError("this asks, and nobody is there to answer", fix="say yes beforehand: -y")
    return answer(f"{question} [y/N]: ").lower() in ("y", "yes")


def answer(question: str) -> str:
    """What somebody types; "" where they end the input. Ctrl-C ends the command with its own exit code, as elsewhere:
    Typer's questions would make a failure of it."""
    try:
        return input(question).strip()
    except EOFError:
        print()
        return ""
