"""What a killed command left behind does not keep a course from going, on a real engine."""

from __future__ import annotations

import io
import tarfile

import pytest

from occamctl.engine import leftovers, volumes
from occamctl.engine.client import Engine
from occamctl.plan import desired

pytestmark = [pytest.mark.engine, pytest.mark.light]
COURSE, HOME, IMAGE = "leftwalk", "leftwalk-anna-home", "localhost/occam-test/leftovers"


def test_a_home_that_a_killed_command_looked_into_is_removed() -> None:
    nothing = io.BytesIO()
    tarfile.open(mode="w", fileobj=nothing).close()
    engine = Engine.local()
    try:
        engine.api.import_image_from_data(nothing.getvalue(), repository=IMAGE)
        engine.api.create_volume(HOME, labels=desired.labels(COURSE, "home"))
        engine.api.create_container(
            IMAGE,
            ["never"],
            volumes=["/home"],
            labels={volumes.LOOK: HOME},
            host_config=engine.api.create_host_config(binds=[f"{HOME}:/home:ro"]),
        )
        assert leftovers.left(engine, COURSE).volumes == (HOME,)
        leftovers.remove_volumes(engine, COURSE)
        assert leftovers.left(engine, COURSE).volumes == ()
    finally:
        volumes.end_looks(engine, HOME)
        engine.api.remove_image(IMAGE, force=True)
        engine.close()
