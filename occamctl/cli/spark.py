"""`occamctl spark …`: Spark clusters."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from occamctl.cli.options import Config, Output, TheirExit, Yes, sure

if TYPE_CHECKING:
    from occamctl.actions.clusters import Cluster

app = typer.Typer(no_args_is_help=True, add_completion=False)
User = Annotated[str, typer.Option("--user", "-u", help="Whose cluster; the course's own when left away.")]
Name = Annotated[str, typer.Option("--cluster", help="Which one; needed where there are several.")]
Workers = Annotated[int, typer.Argument(min=0, help="Workers wanted.", show_default=False)]
Cores = Annotated[int, typer.Option(min=0, help="Cores of a worker; 0: as the course file says.")]
Memory = Annotated[str, typer.Option(help="Memory of a worker, such as 4G; empty: as the course file says.")]
Gpu = Annotated[bool, typer.Option("--gpu", help="Workers with a GPU each.")]
GpuKind = Annotated[
    str, typer.Option("--gpu-kind", metavar="KIND", help="Which GPU: a model (A100) or a MIG profile (1g.10gb).")
]
GpuMemory = Annotated[str, typer.Option("--gpu-memory", help="Which GPU: one of at least so much memory, such as 40G.")]
_COLUMNS = ("owner", "name", "state", "workers", "size", "hosts", "message")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name: at most 12 small letters, digits, hyphens.")] = "",
    cluster: Annotated[str, typer.Option("--cluster", help="The same, as the other commands take it.")] = "",
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="Workers it gets.")] = 2,
    cores: Cores = 0,
    memory: Memory = "",
    gpu: Gpu = False,
    gpu_kind: GpuKind = "",
    gpu_memory: GpuMemory = "",
    user: User = "",
    config: Config = Path("occam.yaml"),
) -> None:
    """Make a cluster with a driver of its own (Spark Connect).  Example: occamctl spark create demo -w 4"""
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course
    from occamctl.errors import SpecError

    if bool(name) == bool(cluster):
        raise SpecError("the new cluster needs a name, once", fix="occamctl spark create demo")
    size = clusters.Size(cores, _size(memory), _gpu(gpu, gpu_kind, gpu_memory))
    with open_course(config, manager_only=True) as session, render.progress() as say:
        session.all_here()
        made = clusters.create(session, user, name or cluster, workers, size, say)
    _ready(made)


@app.command()
def scale(
    workers: Workers,
    gpu: Gpu = False,
    gpu_kind: GpuKind = "",
    gpu_memory: GpuMemory = "",
    user: User = "",
    cluster: Name = "",
    config: Config = Path("occam.yaml"),
) -> None:
    """Give a cluster WORKERS workers; the course's own one is made if needed.

    With --gpu so many of its workers have a GPU, beside those that have none.  Example: occamctl spark scale 8 --gpu
    """
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course

    which = _gpu(gpu, gpu_kind, gpu_memory)
    with open_course(config, manager_only=True) as session, render.progress() as say:
        session.all_here()
        before, made = clusters.scale(session, user, cluster, workers, which, say)
    render.line(f"{before} → {_workers(workers)}{' with GPUs' if which else ''}")
    _ready(made)
    if made["declared"]:
        render.note("The course file declares this cluster: the next course up brings its number of workers back.")


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
    else:
        _shown(there)
    if there["state"] == "failed":
        raise typer.Exit(1)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def submit(
    program: Annotated[Path, typer.Argument(metavar="APP.PY", help="The application: a Python file.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="What it is called with.")] = None,
    name: Annotated[
        str, typer.Option("--name", "--cluster", help="A name for it: at most 12 small letters, digits, hyphens.")
    ] = "",
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="Workers it gets.")] = 2,
    cores: Cores = 0,
    memory: Memory = "",
    gpu: Gpu = False,
    gpu_kind: GpuKind = "",
    gpu_memory: GpuMemory = "",
    conf: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A setting of Spark; repeatable.")] = None,
    py_files: Annotated[list[Path] | None, typer.Option(help="A .py or .zip for its imports; repeatable.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print its name and return at once.")] = False,
    user: User = "",
    config: Config = Path("occam.yaml"),
) -> None:
    """Run an application on workers of its own and show its output; ends with its exit code.

    Options come first. Ctrl-C ends the application. Nothing of it is left afterwards, nor is what it wrote into its
    own container; with --detach its last lines are kept for ten minutes.  Example: occamctl spark submit -w 4 pi.py 100
    """
    from occamctl import render
    from occamctl.actions import applications, clusters
    from occamctl.actions.session import open_course
    from occamctl.errors import EngineError, HostError, TookTooLong

    asked = applications.Application(program, arguments or (), py_files or (), _conf(conf or []))
    with open_course(config, manager_only=detach) as session:
        size = clusters.Size(cores, _size(memory), _gpu(gpu, gpu_kind, gpu_memory))
        there = applications.submit(session, user, asked, name=name, workers=workers, size=size)
        if detach:
            render.line(there["name"])
            return
        render.note(f"application {there['name']} of {there['owner']}: {_workers(workers)}")
        try:
            code = applications.follow(session, there, _pass_on)
        except KeyboardInterrupt:
            render.note("ending the application")
            applications.end(session, there)
            raise
        except (EngineError, HostError, TookTooLong):
            render.note(f"the application may go on; see: occamctl spark status --cluster {there['name']}")
            raise
        applications.end(session, there)
    render.note(f"the application ended with exit code {code} (its own, not occamctl's)")
    raise TheirExit(code)


@app.command()
def logs(
    user: User = "",
    cluster: Name = "",
    worker: Annotated[str, typer.Option("--worker", help="Number of one worker, or: driver.")] = "",
    tail: Annotated[int, typer.Option("--tail", "-n", min=1, max=10_000, help="Last lines of each.")] = 200,
    config: Config = Path("occam.yaml"),
) -> None:
    """What a cluster's workers and driver printed.  Example: occamctl spark logs --user anna.rossi -n 50"""
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        text = clusters.logs(session, user, cluster, worker, tail)
    for line in text.splitlines():
        render.line(line)


@app.command()
def ui(
    user: User = "",
    cluster: Name = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 for a free one.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    config: Config = Path("occam.yaml"),
) -> None:
    """Bring Spark's own page of a cluster to this machine until Ctrl-C.  Example: occamctl spark ui --open"""
    import webbrowser

    from occamctl import render
    from occamctl.actions.forward import forward
    from occamctl.actions.session import open_course

    with open_course(config) as session, forward(session, user, cluster, port) as forwarded:
        render.line(forwarded.url)
        sys.stdout.flush()
        render.note("Ctrl-C ends it.")
        if open_:
            webbrowser.open(forwarded.url)
        try:
            forwarded.wait()
        except KeyboardInterrupt:  # how one ends it, and no failure
            return


@app.command()
def delete(user: User = "", cluster: Name = "", yes: Yes = False, config: Config = Path("occam.yaml")) -> None:
    """Remove a cluster; work that runs on it ends.  Example: occamctl spark delete --user anna.rossi -y"""
    from occamctl import render
    from occamctl.actions import clusters
    from occamctl.actions.session import open_course

    with open_course(config, manager_only=True) as session:
        session.all_here()
        there = clusters.find(session, user, cluster)
        asked = f"Remove cluster {there['name']} of {there['owner']} with {_workers(there['wanted'])}?"
        if not yes and not sure(asked):
            render.line("Nothing was done.")
            raise typer.Exit(1)
        clusters.delete(session, there["owner"], there["name"])
    render.line(f"Cluster {there['name']} of {there['owner']} is gone.")


def _shown(there: Cluster) -> None:
    from occamctl import render

    render.table("", ("key", "value"), [{"key": key, "value": value} for key, value in _details(there).items()])
    render.line()
    workers = [{**one, "gpus": ", ".join(one["gpus"])} for one in there["executors"]]
    columns = ("id", "node", "state", *(("gpus",) if any(one["gpus"] for one in workers) else ()), "message")
    render.table("Workers", columns, workers)


def _pass_on(stream: int, piece: bytes) -> None:
    to = sys.stdout.buffer if stream == 1 else sys.stderr.buffer
    to.write(piece)
    to.flush()


def _conf(pairs: list[str]) -> dict[str, str]:
    from occamctl.errors import SpecError

    settings = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise SpecError(
                f"{pair!r} is not KEY=VALUE", where="--conf", fix="write: --conf spark.sql.ansi.enabled=true"
            )
        settings[key] = value
    return settings


def _size(text: str) -> int:
    from occamctl.errors import SpecError
    from occamctl.spec import units

    try:
        return units.size(text) if text else 0
    except ValueError as error:
        raise SpecError(str(error), where="--memory") from None


def _ready(made: Cluster) -> None:
    from occamctl import render

    run = f"{_workers(made['wanted'])} {'runs' if made['wanted'] == 1 else 'run'} on {_hosts(made)}"
    render.line(f"Cluster {made['name']} of {made['owner']}: {run if made['wanted'] else 'no workers'}")
    if made["connect_url"]:
        render.line(f"Inside the course's network: {made['connect_url']}")


def _workers(many: int) -> str:
    return "1 worker" if many == 1 else f"{many} workers"


def _hosts(there: Cluster) -> str:
    return ", ".join(sorted({one["node"] for one in there["executors"] if one["state"] == "running"}))


def _row(there: Cluster) -> dict[str, Any]:
    from occamctl.spec.units import human_size

    running = sum(one["state"] == "running" for one in there["executors"])
    return {
        **there,
        "workers": f"{running}/{there['wanted']}",
        "size": f"{there['cores']} CPU, {human_size(there['memory'])}{_gpus(there)}",
        "hosts": _hosts(there),
        "message": str(there["message"]).partition("\n")[0],
    }


def _gpu(any_: bool, kind: str, memory: str) -> Mapping[str, object] | None:
    """The GPU of each worker, as the gateway is asked for it."""
    from occamctl.actions.gpu_shares import wish

    return wish(kind, 1, memory) if any_ or kind or memory else None


def _gpus(there: Cluster) -> str:
    beside = f"; {there['gpu_workers']} with GPUs" if there["gpu_workers"] else ""
    return f", {there['gpu']}" if there["gpu"] else beside


def _details(there: Cluster) -> dict[str, Any]:
    known = "not heard yet" if there["registered"] is None else there["registered"]
    left = "no lease" if there["lease_left"] is None else f"{there['lease_left']:.0f} s"
    keys = (
        "owner", "name", "state", "exit_code", "workers", "size", "driver", "app_id", "since", "connect_url", "message",
    )  # fmt: skip
    row = {**_row(there), "message": there["message"]}
    return {key: row[key] for key in keys if row[key] not in ("", None)} | {"registered": known, "lease": left}
