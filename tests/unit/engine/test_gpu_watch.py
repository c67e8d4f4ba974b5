"""The program that tells what GPUs do, with the stand-in of nvidia-smi."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from occamctl import wait
from occamctl.engine import gpu_watch_inside as watch

STAND_IN = Path(__file__).parents[3] / "templates" / "images" / "host" / "nvidia" / "nvidia-smi"
TOKEN = "a-token"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in finds its GPUs: one whole, one cut into two."""
    made = tmp_path / "state"
    (made / "use").mkdir(parents=True)
    (made / "lost").mkdir()
    (made / "gpus").write_text("0|GPU-a|X (simulated)|40960\n1|GPU-b|X (simulated)|40960\n1/0|MIG-x|1g.5gb|4864\n")
    (made / "use" / "GPU-a").write_text("57 1234 4711 4712\n")
    (made / "use" / "MIG-x").write_text("9 100 5\n")
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(STAND_IN.read_text().replace("/var/lib/nvidia-simulated", str(made)))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    return made


def test_what_is_read(state: Path) -> None:
    found, trouble = watch.read(watch.Tool())
    assert trouble == ""
    assert found == [
        {
            "uuid": "GPU-a",
            "utilization": 57,
            "memory_used": 1234 << 20,
            "memory": 40960 << 20,
            "processes": [4711, 4712],
        },
        {"uuid": "MIG-x", "utilization": None, "memory_used": 100 << 20, "memory": 4864 << 20, "processes": [5]},
    ]


def test_a_lost_gpu_and_a_broken_driver_are_told_beside_what_was_read_last(state: Path) -> None:
    last, tool = watch.Last(), watch.Tool()
    last.look(tool)
    (state / "lost" / "GPU-b").touch()
    last.look(tool)
    assert "GPU1: 0000:02:00.0: Unknown Error" in last.trouble
    assert [one["uuid"] for one in last.gpus] == ["GPU-a"]
    (state / "fault").write_text("mismatch\n")
    last.look(tool)
    assert "Driver/library version mismatch" in last.trouble
    assert [one["uuid"] for one in last.gpus] == ["GPU-a"]


def test_a_row_without_numbers_is_a_gpu_that_is_broken() -> None:
    def tool(*words: str) -> str:
        if words[:1] == ("-L",):
            return "GPU 0: A100 (UUID: GPU-a)\nGPU 2: A100 (UUID: GPU-c)\n  MIG 1g.5gb  Device  0: (UUID: MIG-x)\n"
        rows = (
            "GPU-a, 3, 10, 40960\nGPU-b, [GPU is lost], [N/A], [N/A]\nGPU-c, [N/A], [N/A], [Insufficient Permissions]\n"
        )
        return rows if words and words[0].startswith("--query-gpu") else ""

    found, trouble = watch.read(tool)  # type: ignore[arg-type]
    assert [one["uuid"] for one in found] == ["GPU-a", "MIG-x"]
    assert trouble == "GPU-b, [GPU is lost], [N/A], [N/A]"


def test_a_hanging_driver_is_told_and_not_asked_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "DEADLINE", 0.5)
    (state / "fault").write_text("hang\n")
    last, tool = watch.Last(), watch.Tool()
    began = time.monotonic()
    last.look(tool)
    assert "the driver hangs" in last.trouble
    assert time.monotonic() - began < 5
    monkeypatch.setattr(watch, "DEADLINE", 15)
    (state / "fault").unlink()

    def looked() -> str:
        last.look(tool)
        return last.trouble

    wait.until(looked, lambda said: said == "", "the hanging one's end", seconds=10)


@pytest.fixture
def address(state: Path) -> Iterator[str]:
    last = watch.Last()
    last.look(watch.Tool())
    serving = watch.server(0, TOKEN, last)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_address[1]}/"
    serving.shutdown()
    serving.server_close()


def test_only_who_has_the_token_is_told(address: str) -> None:
    asked = urllib.request.Request(address, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(asked, timeout=5) as answer:
        said = json.load(answer)
    assert (said["trouble"], len(said["gpus"])) == ("", 2)
    for header in ({}, {"Authorization": "token another"}, {"Authorization": TOKEN}):
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(urllib.request.Request(address, headers=header), timeout=5)
        refused.value.close()
