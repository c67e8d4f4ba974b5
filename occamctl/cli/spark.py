"""`occamctl spark …`: Spark clusters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from occamctl.cli.options import Config, Output, Yes, sure

if TYPE_CHECKING:
    from occamctl.actions.clusters import Cluster

app = typer.Typer(no_args_is_help=True, add_completion=False)
User = Annotated[str, typer.Option("--user", "-u", help="Whose cluster; the course's own when left away.")]
Name = Annotated[str, typer.Option("--cluster", help="Which one; needed where there are several.")]
Workers = Annotated[int, typer.Argument(min=0, help="Workers wanted.", show_default=False)]
_COLUMNS = ("owner", "name", "state", "workers", "size", "hosts", "message")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new cluster: at most 12 small letters, digits, hyphens.")],
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="Workers it gets.")] = 2,
    cores: Annotated[int, typer.Option(min=0, help="Cores of a worker; 0: as the course file says.")] = 0,
    memory: Annotated[str, typer.Option(help="Memory of a worker, such as 4G; empty: as the course file says.")] = "",
    user: User = "",
    config: Config = Path("occam.yaml"),
) -> None:
    """Make a cluster with a driver of its own (Spark Connect).  Example: occamctl spark create demo -w 4"""
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course

    size = clusters.Size(cores, _size(memory))
    with open_course(config, manager_only=True) as session, render.progress() as say:
        session.all_here()
        made = clusters.create(session, user, name, workers, size, say)
    _ready(made)


@app.command()
def scale(workers: Workers, user: User = "", cluster: Name = "", config: Config = Path("occam.yaml")) -> None:
    """Give a cluster WORKERS workers; the course's own one is made if needed.  Example: occamctl spark scale 8"""
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session, render.progress() as say:
        session.all_here()
        before, made = clusters.scale(session, user, cluster, workers, say)
    render.line(f"{before} → {made['wanted']} workers")
    _ready(made)


@app.command("list")
def list_(user: User = "", config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Clusters of everybody, or of one user.  Example: occamctl spark list -o json"""
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        there = clusters.listed(session, user)
    render.table("", _COLUMNS, there if output != "table" else [_row(one) for one in there], output)


@app.command()
def status(user: User = "", cluster: Name = "", config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """One cluster and its workers.  Example: occamctl spark status --user anna.rossi"""
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        there = clusters.find(session, user, cluster)
    if output != "table":
        render.data(there, output)
        return
    render.table("", ("key", "value"), [{"key": key, "value": value} for key, value in _details(there).items()])
    render.line()
    render.table("Workers", ("id", "node", "state", "message"), there["executors"])
    if there["state"] == "failed":
        raise typer.Exit(1)


@app.command()
def delete(user: User = "", cluster: Name = "", yes: Yes = False, config: Config = Path("occam.yaml")) -> None:
    """Remove a cluster; work that runs on it ends.  Example: occamctl spark delete --user anna.rossi -y"""
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        there = clusters.find(session, user, cluster)
        asked = f"Remove cluster {there['name']} of {there['owner']} with {there['wanted']} workers?"
        if not yes and not sure(asked):
            render.line("Nothing was done.")
            raise typer.Exit(1)
        clusters.delete(session, there["owner"], there["name"])
    render.line(f"Cluster {there['name']} of {there['owner']} is gone.")


def _size(text: str) -> int:
    from occamctl.errors import SpecError
    from occamctl.spec import units

    try:
        return units.size(text) if text else 0
    except ValueError as error:
        raise SpecError(str(error), where="--memory") from None


def _ready(made: Cluster) -> None:
    from occamctl import render

    render.line(
        f"Cluster {made['name']} of {made['owner']}: {made['wanted']} workers run on {_hosts(made) or 'no host'}"
    )
    if made["connect_url"]:
        render.line(f"Inside the course's network: {made['connect_url']}")


def _hosts(there: Cluster) -> str:
    return ", ".join(sorted({one["node"] for one in there["executors"] if one["state"] == "running"}))


def _row(there: Cluster) -> dict[str, Any]:
    from occamctl.spec.units import human_size

    running = sum(one["state"] == "running" for one in there["executors"])
    return {
        **there,
        "workers": f"{running}/{there['wanted']}",
        "size": f"{there['cores']} CPU, {human_size(there['memory'])}",
        "hosts": _hosts(there),
        "message": str(there["message"]).partition("\n")[0],
    }


def _details(there: Cluster) -> dict[str, Any]:
    known = "not heard yet" if there["registered"] is None else there["registered"]
    left = "no lease" if there["lease_left"] is None else f"{there['lease_left']:.0f} s"
    keys = ("owner", "name", "state", "workers", "size", "driver", "app_id", "since", "connect_url", "message")
    row = {**_row(there), "message": there["message"]}
    return {key: row[key] for key in keys if row[key]} | {"registered": known, "lease": left}
