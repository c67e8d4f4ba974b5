"""Look into a volume with a container that sees nothing else."""

from __future__ import annotations

from contextlib import suppress

from docker.errors import APIError, ContainerError

from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError

LOOK = "occam.look"
"""Label of a container that looks: the volume that it has."""


def look_into(engine: Engine, volume: str, image: str, script: str) -> bytes:
    """What a Python `script` prints that runs as root with `volume` at /home, read-only, and no network.

    Raises EngineError when the script fails.
    """
    with speaking_to(engine.name):
        try:
            printed: bytes = engine.client.containers.run(
                image,
                entrypoint=["/opt/occam/venv/bin/python", "-c", script],
                command=[],
                volumes={volume: {"bind": "/home", "mode": "ro"}},
                network_mode="none",
                user="0",
                cap_drop=["ALL"],
                cap_add=["DAC_READ_SEARCH"],
                mem_limit="256m",
                labels={LOOK: volume},
                remove=True,
            )
        except ContainerError as error:
            raise EngineError(f"cannot look into volume {volume}: {error.stderr!r}", where=engine.name) from error
    return printed


def end_looks(engine: Engine, volume: str) -> None:
    """Remove containers that a killed command left with `volume`; as long as they are there it cannot be removed."""
    with speaking_to(engine.name):
        for one in engine.api.containers(all=True, filters={"label": [f"{LOOK}={volume}"]}):
            with suppress(APIError):  # it goes by itself
                engine.api.remove_container(one["Id"], force=True)
