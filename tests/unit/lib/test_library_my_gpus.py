"""What the owner of a notebook with GPUs hears, from a gateway that answers from memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from occam import my_gpus


class Gateway:
    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    def ask(self, method: str, path: str) -> dict[str, Any]:
        assert (method, path) == ("GET", "gpu")
        return {"notices": [{"number": number, "text": text} for number, text in enumerate(self.texts, 1)]}


def test_each_notice_is_shown_once_and_old_ones_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    there: Any = Gateway("long ago")
    ear = my_gpus.Ear(there, SimpleNamespace(execution_count=2))
    ear.listen()
    there.texts.append("GPU-1 will be taken back")
    ear.listen()
    ear.listen()
    assert capsys.readouterr().err == "occam: GPU-1 will be taken back\n"


def test_before_the_first_cell_there_is_no_place_to_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    there: Any = Gateway()
    shell = SimpleNamespace(execution_count=1)
    ear = my_gpus.Ear(there, shell)
    ear.listen()
    there.texts.append("GPU-1 will be taken back")
    ear.listen()
    assert not capsys.readouterr().err
    shell.execution_count = 2
    ear.listen()
    assert capsys.readouterr().err == "occam: GPU-1 will be taken back\n"


@pytest.mark.parametrize("given", [True, False])
def test_only_notebooks_with_gpus_listen(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []
    monkeypatch.setattr(my_gpus.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: began.append("")))
    monkeypatch.setattr(my_gpus.gateway, "here", lambda: Gateway())
    monkeypatch.delenv(my_gpus.GIVEN, raising=False)
    if given:
        monkeypatch.setenv(my_gpus.GIVEN, "compute,utility")
    my_gpus.load_ipython_extension(SimpleNamespace(execution_count=1))
    assert bool(began) is given
