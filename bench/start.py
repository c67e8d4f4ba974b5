"""How long the command takes to start."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from side_by_side import Line, interleaved, ratio

ROUNDS = 21
_HELLO = """
import typer
app = typer.Typer(add_completion=False)
@app.command()
def hello(name: str = "world") -> None:
    "Say hello."
    print(f"hello {name}")
app()
"""


def measure() -> list[Line]:
    occamctl = str(Path(sys.executable).with_name("occamctl"))
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "hello.py"
        hello.write_text(_HELLO)
        took = interleaved(
            {
                "nothing": [sys.executable, "-c", "pass"],
                "version": [occamctl, "--version"],
                "hello": [sys.executable, str(hello), "--help"],
                "help": [occamctl, "--help"],
            },
            ROUNDS,
        )
    return [
        ratio("occamctl --version to python3 -c pass", took["version"], took["nothing"], 2.5),
        ratio("occamctl --help to --help of a Typer hello world", took["help"], took["hello"], 1.25),
    ]
