"""A host's rules for containers, by way of its engine: are they there, and their removal."""

from __future__ import annotations

from docker.errors import APIError, NotFound

from occamctl.engine import images
from occamctl.engine.client import Engine, speaking_to
from occamctl.engine.ownership import by_label
from occamctl.errors import EngineError
from occamctl.plan import desired
from occamctl.plan.walls import removal
from occamctl.spec import names

_SECONDS = 30


def stand(engine: Engine, course: str, table: str) -> bool:
    """Does the keeper of the course's walls see its table on this host?"""
    keeper = {names.COURSE: course, names.KIND: "walls"}
    with speaking_to(engine.name):
        running = engine.api.containers(filters=by_label(keeper))
    look = ["nft", "list", "chain", "inet", table, "forward"]
    return any(engine.exec(one["Id"], look, seconds=_SECONDS)[0] == 0 for one in running)


def take_away(engine: Engine, course: str, image: str) -> None:
    """Remove the course's table from this engine's host; a keeper that was killed left it.

    image  the course's notebook image; where it has gone, any other of ours serves: without one there was no keeper

    Raises EngineError when the table stays.
    """
    tag = _with_nft(engine, image)
    if not tag:
        return
    with speaking_to(engine.name):
        made = engine.api.create_container(
            tag, removal(course), user="0", labels=desired.labels(course, "walls"),
            host_config=engine.api.create_host_config(network_mode="host", cap_drop=["ALL"], cap_add=["NET_ADMIN"]),
        )["Id"]  # fmt: skip
        try:
            engine.api.start(made)
            code = engine.api.wait(made, timeout=_SECONDS)["StatusCode"]
            said = engine.api.logs(made).decode(errors="replace").strip()
        finally:
            _remove(engine, made)
    if code:
        raise EngineError(
            f"the rules for containers stay: {said.splitlines()[-1] if said else f'exit {code}'}",
            where=engine.name,
            fix=f"there: nft delete table inet {names.Names(course).walls_table}",
        )


def _with_nft(engine: Engine, image: str) -> str:
    there = sorted(images.present(engine))
    return image if image in there else next((tag for tag in there if tag.startswith(f"{images.PREFIX}/notebook:")), "")


def _remove(engine: Engine, container: str) -> None:
    try:
        engine.api.remove_container(container, force=True)
    except (NotFound, APIError):
        return
