"""How a person sees it: tables, plans, progress, errors. With cli/ the only place that knows rich and typer."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from occamctl.errors import OccamError

if TYPE_CHECKING:
    from rich.console import Console

    from occamctl.plan.steps import Step

# rich is imported when something is drawn with it: "nothing to do" is said without.


@cache
def out() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


@cache
def err() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def shown_as_is(text: object) -> str:
    """`text` for rich, which reads square brackets as markup."""
    from rich.markup import escape

    return escape(printable(text))


_UNFOLDED = 10_000
"""Columns of a table that is not folded."""
Say = Callable[[str, str], None]
"""Progress: where (a host's name or ""), and what is going on there."""


def data(value: object, output: str) -> None:
    """`value` as JSON or YAML on standard output."""
    if output == "yaml":
        import yaml

        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")
    else:
        print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def printable(value: object) -> str:
    """Text that cannot harm a terminal: control characters are shown, not sent."""
    text = "" if value is None else str(value)
    return "".join(mark if mark.isprintable() or mark == "\n" else f"\\x{ord(mark):02x}" for mark in text)


def table(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]], output: str = "table") -> None:
    """Rows as a table, JSON or YAML; in JSON and YAML every key of a row is given, in the table the `columns`."""
    if output != "table":
        data([dict(row) for row in rows], output)
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column.upper().replace("_", " "), overflow="fold")
    for row in rows:
        shown.add_row(*(shown_as_is(row.get(column)) for column in columns))
    # Whoever reads it with a program has no screen whose width rows could be folded to.
    folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(highlight=False, width=None if folded else _UNFOLDED).print(
        shown if rows else f"{title + ': ' if title else ''}none"
    )


def line(text: str = "") -> None:
    print(printable(text))


def note(text: str) -> None:
    """Something worth knowing that is not the answer: on standard error."""
    err().print(shown_as_is(text), style="dim")


def plan(steps: Sequence[Step]) -> None:
    """What would be done, in order, by stage."""
    if not steps:
        line("Nothing to do: everything is as the course file says.")
        return
    marks = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}
    stage = ""
    for step in steps:
        if step.stage.title != stage:
            stage = step.stage.title
            out().print(f"[bold]{stage}[/bold]")
        mark, color = marks[step.kind]
        where = f" [dim]on {shown_as_is(step.host)}[/dim]" if step.host else ""
        out().print(f"  [{color}]{mark}[/{color}] {shown_as_is(step.what)}{where}")
    out().print(f"{len(steps)} step{'s' if len(steps) != 1 else ''}")


def error(failure: OccamError) -> None:
    """One line for each thing that is wrong, and how to mend it."""
    for one in (failure, *getattr(failure, "others", ())):
        where = f"{one.where}: " if one.where else ""
        err().print(f"[red]error:[/red] {shown_as_is(where + one.what)}")
        if one.fix:
            err().print(f"  [green]fix:[/green] {shown_as_is(one.fix)}")


@contextmanager
def progress(hosts: Iterable[str] = ()) -> Iterator[Say]:
    """A live line per host on a terminal; plain lines, each once, where there is none (logs, pipes)."""
    if err().is_terminal:
        yield from _live(list(hosts))
    else:
        yield from _lines()


def _lines() -> Iterator[Say]:
    lock, last = threading.Lock(), dict[str, str]()
    start = time.monotonic()

    def say(where: str, what: str) -> None:
        with lock:
            if last.get(where) == what:
                return
            last[where] = what
            print(
                f"[{time.monotonic() - start:6.1f} s] {where + ': ' if where else ''}{printable(what)}", file=sys.stderr
            )
            sys.stderr.flush()

    yield say


def _live(hosts: list[str]) -> Iterator[Say]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.fields[host]}"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    lock, rows = threading.Lock(), {}
    with Progress(*columns, console=err(), transient=True) as shown:

        def say(where: str, what: str) -> None:
            with lock:
                if where not in rows:
                    rows[where] = shown.add_task("", host=where or "course", total=None)
                shown.update(rows[where], description=shown_as_is(what)[:100])

        for host in hosts:
            say(host, "")
        yield say


def status(seen: Mapping[str, object], output: str = "table") -> None:
    """The whole of `occamctl status`: one table each, and what is wrong at the end."""
    if output != "table":
        data(seen, output)
        return
    line(f"Course {seen['course']} at {seen['url']}")
    for title, columns in (
        ("hosts", ("host", "role", "cores", "memory", "disk", "load", "engine", "state")),
        ("services", ("service", "state", "message")),
        ("students", ("username", "role", "group")),
        ("notebooks", ("user", "state", "node", "message")),
        ("clusters", ("owner", "name", "state", "wanted", "registered", "message")),
        ("material", ("folder", "from", "files", "released", "next", "then")),
    ):
        line()
        rows = seen[title]
        assert isinstance(rows, list)
        table(title.capitalize(), columns, rows)
    wrong = seen["wrong"]
    assert isinstance(wrong, list)
    line()
    line("Nothing is wrong." if not wrong else "What is wrong:")
    for one in wrong:
        line(f"  - {one}")
