"""Steps of `course up` that wait."""

from __future__ import annotations

from typing import Any

import pytest

from occamctl.actions import apply
from occamctl.actions.apply import await_answer
from occamctl.errors import EngineError, TookTooLong


class Gateway:
    """One whose first answers are refusals."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.asked = refusals, 0

    def get(self, path: str, timeout: float = 30) -> Any:
        self.asked += 1
        if self.asked <= self.refusals:
            raise EngineError("the gateway does not answer")
        return {}


def test_a_gateway_that_has_just_started_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    late = Gateway(2)
    await_answer(late)  # type: ignore[arg-type]
    assert late.asked == 3
    monkeypatch.setattr(apply, "SERVICE_START", 0.1)
    with pytest.raises(TookTooLong, match="still the gateway does not answer after"):
        await_answer(Gateway(99))  # type: ignore[arg-type]
