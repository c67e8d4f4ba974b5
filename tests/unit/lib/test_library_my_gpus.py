"""What the owner of a notebook with GPUs hears, from a gateway that answers from memory."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from occam import my_gpus

from occamctl.plan import gpus

CONFIG = Path(__file__).parents[3] / "templates/images/notebook/ipython/ipython_kernel_config.py"


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
def test_only_kernels_of_notebooks_with_gpus_load_it(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_DRIVER_CAPABILITIES", raising=False)
    for name, value in gpus.visible(given).items():
        monkeypatch.setenv(name, value)
    extensions: list[str] = []
    config = SimpleNamespace(InteractiveShellApp=SimpleNamespace(extensions=extensions))
    runpy.run_path(str(CONFIG), {"get_config": lambda: config})
    assert extensions == (["occam.my_gpus"] if given else [])
