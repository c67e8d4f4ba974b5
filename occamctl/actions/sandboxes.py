"""`occamctl sandbox up`: pretend hosts that already hold the images, when this machine has them."""

from __future__ import annotations

from collections.abc import Callable

from occamctl import sandbox
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.spec.course import Image


def up(hosts: int, name: str, say: Callable[[str, str], None], *, gpus: int = 0) -> sandbox.Sandbox:
    """Ensure the images on this machine first: cloned into a new host they take seconds, sent to it minutes."""
    sandbox.check_name(name)
    engine, wanted = Engine.local(), (images.hub_image(), images.notebook_image(Image()))
    for image in wanted:
        images.ensure_built(engine, image, lambda text: say("", text))
    return sandbox.up(hosts, name=name, tags=[image.tag for image in wanted], say=say, gpus=gpus)
