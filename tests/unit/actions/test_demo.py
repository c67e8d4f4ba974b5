"""What a demo knows of the one before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from occamctl.actions.demo import COURSE, STUDENT, _password
from occamctl.actions.first_passwords import file_of, keep
from occamctl.errors import OccamError
from occamctl.spec.course import Student


def test_a_demo_that_broke_off_leaves_the_password_to_the_next_one(tmp_path: Path) -> None:
    config = tmp_path / "occam.yaml"
    with pytest.raises(OccamError, match="not there any more") as caught:
        _password(config)
    assert caught.value.fix == "run: occamctl demo --down"
    path = file_of(config, COURSE)
    assert path is not None
    keep(path, [Student(username=STUDENT)], {STUDENT: "lusab-babad"})  # `up` writes it before the account is made
    assert _password(config) == "lusab-babad"
