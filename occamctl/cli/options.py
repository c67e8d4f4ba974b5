"""Options that many commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Config = Annotated[
    Path, typer.Option("--config", "-c", help="The course file; - reads standard input.", show_default=True)
]
Output = Annotated[Literal["table", "json", "yaml"], typer.Option("--output", "-o", help="How to print.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
