"""What `host prepare` does, by what a host answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from occamctl.errors import HostError
from occamctl.hosts.machine import Ran
from occamctl.hosts.prepare import prepare


class WithEngine:
    """A host whose engine has this version; anything but the question for it would be a change."""

    name, is_local = "lab1", False

    def __init__(self, version: str) -> None:
        self.version = version

    def run(self, command: Sequence[str], **more: Any) -> Ran:
        assert "version" in command
        return Ran(0, f"{self.version}\n", "")


def test_an_engine_that_is_too_old_is_refused_and_left() -> None:
    with pytest.raises(HostError) as said:
        prepare(WithEngine("19.03.15"), print)  # type: ignore[arg-type]
    assert str(said.value) == "lab1: its engine 19.03.15 is too old (install 20.10 or newer)"
    assert said.value.exit_code == 3


def test_an_engine_that_is_there_is_left() -> None:
    assert prepare(WithEngine("20.10.24"), print) == []  # type: ignore[arg-type]
