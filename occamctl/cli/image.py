"""`occamctl image …`."""

from __future__ import annotations

from pathlib import Path

import typer

from occamctl.cli.options import Config, Output, Yes

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def build(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """Build the images of the course, unless they are there.  Example: occamctl image build"""
    from occamctl import render
    from occamctl.actions import images

    with render.progress() as say:
        tags = images.build(config, say)
    render.table("", ("image",), [{"image": tag} for tag in tags], output)


@app.command("list")
def list_(config: Config = Path("occam.yaml"), output: Output = "table") -> None:
    """The images on every host, and which of them the course uses.  Example: occamctl image list -o json"""
    from occamctl import render
    from occamctl.actions import images
    from occamctl.spec.units import human_size

    rows = [
        {
            "host": one.host,
            "image": one.image,
            "size": human_size(one.size) if output == "table" else one.size,
            "age": _age(one.age) if output == "table" else one.age,
            "used": ("yes" if one.used else "no") if output == "table" else one.used,
        }
        for one in images.listed(config)
    ]
    render.table("", ("host", "image", "size", "age", "used"), rows, output)


def _age(seconds: int) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


@app.command()
def push(config: Config = Path("occam.yaml")) -> None:
    """Send every host the images that it lacks.  Example: occamctl image push"""
    from occamctl import render
    from occamctl.actions import images

    with render.progress() as say:
        sent = images.push(config, say)
    for host, tags in sent.items():
        render.line(f"{host}: {'sent ' + ', '.join(tags) if tags else 'has them already'}")
    if not sent:
        render.line("The course runs on this machine: nothing to send.")


@app.command()
def prune(config: Config = Path("occam.yaml"), yes: Yes = False) -> None:
    """Remove images that the course no longer uses, from every host.  Example: occamctl image prune -y"""
    from occamctl import render
    from occamctl.actions import images

    rows = images.superfluous(images.listed(config))
    if not rows:
        render.line("Nothing to remove.")
        return
    render.table("", ("host", "image"), [{"host": one.host, "image": one.image} for one in rows])
    if not yes and not typer.confirm("Remove these?"):
        render.line("Nothing was removed.")
        raise typer.Exit(1)
    with render.progress() as say:
        kept = images.prune(config, rows, say)
    for row in kept:
        render.note(f"{row.host}: {row.image} stays, a container uses it")
