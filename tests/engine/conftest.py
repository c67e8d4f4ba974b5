"""The stage that the tests of Spark and of the student's library share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from occamctl.engine.client import Engine

from . import spark_stage


@pytest.fixture(scope="module")
def notebook_image() -> Iterator[tuple[Engine, str]]:
    with spark_stage.built() as found:
        yield found


@pytest.fixture
def stage(notebook_image: tuple[Engine, str]) -> Iterator[spark_stage.Stage]:
    """A new container: what one test leaves behind is not the next one's."""
    with spark_stage.stage(*notebook_image) as made:
        yield made
