"""`host prepare --gpu` and its way back, on a folder that stands for a host: its scripts are run for real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from occamctl.errors import HostError, Refused
from occamctl.hosts import gpu_prepare
from occamctl.hosts.gpu_prepare import NOTES, prepare_gpus, told, undo_gpus
from occamctl.hosts.machine import LocalMachine, Ran, checked, write_as_root
from occamctl.plan.gpu_setup import CONFIG, DAEMON, TOOLKIT
from occamctl.plan.observed import Gpu, GpuSupport, HostFacts, HostFile

ONE, TWO = Gpu("GPU-a", "NVIDIA A100", 40 << 30), Gpu("GPU-b", "NVIDIA A100", 40 << 30)
THEIRS = '{"log-driver":\t"json-file" }'
KEEPERS = ["1 walls", "2 gpus"]


class Folder(LocalMachine):
    """A host: its /etc and /var are here. Apt, systemd and the engine are told of, not run."""

    name = "lab1"  # type: ignore[assignment]
    is_local = False  # type: ignore[assignment]

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gpus: tuple[Gpu, ...] = (ONE,)
        self.packages = {"bash"}
        self.containers: list[str] = []
        self.refuses = ""
        """A text that the engine does not start with."""
        self.restarts = 0
        self.put(DAEMON, THEIRS.encode(), 0o640)
        (root / "var/lib/apt/lists").mkdir(parents=True)
        self.daemon = THEIRS
        """What the engine that runs has read."""

    def run(
        self,
        command: Sequence[str],
        *,
        sudo: bool = False,
        stdin: str = "",
        seconds: float = 60,
        check: bool = True,
    ) -> Ran:
        done = self._told_of(list(command))
        if done:
            return checked(done, command, self.name, check=check)
        here = [re.sub(r"(?<![\w.-])/(etc|var)/", rf"{self.root}/\1/", word) for word in command]
        return super().run(here, stdin=stdin, seconds=seconds, check=check)

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        write_as_root(self, path, content, mode)

    def _told_of(self, command: list[str]) -> Ran | None:
        if command[0] == "docker":
            return Ran(0, "\n".join(self.containers) if "ps" in command else self._info(), "")
        if command[0] == "systemctl":
            return self._restart() if "restart" in command else Ran(0, "", "")
        if "OCCAM_GPU_" in command[-1] and TOOLKIT in self.packages:
            return Ran(0, "", "")
        if "/run/systemd/system" in command[-1] or command[0] == "apt-cache":
            return Ran(0, "", "")
        if command[0] == "dpkg-query":
            return Ran(0, "".join(f"ii  {one}\n" for one in self.packages), "")
        if "apt-get" in command:
            return self._apt(command)
        return None

    def _apt(self, command: list[str]) -> Ran:
        if "install" in command:
            self.packages.add(TOOLKIT)
            (self.root / "var/lib/apt/lists/some_list").touch()
        if "purge" in command:
            self.packages -= set(command)
        return Ran(0, "", "")

    def _restart(self) -> Ran:
        self.restarts += 1
        written = self.text(DAEMON) or "{}"
        if self.refuses and self.refuses in written:
            return Ran(1, "", "Job for docker.service failed")
        self.daemon = written
        return Ran(0, "", "")

    def _info(self) -> str:
        has: dict[str, Any] = json.loads(self.daemon)
        pairs = [one.partition("=")[::2] for one in has.get("node-generic-resources", [])]
        listed = [{"NamedResourceSpec": {"Kind": kind, "Value": value}} for kind, value in pairs]
        runtime = has.get("default-runtime", "runc")
        return json.dumps(
            {"ID": "1", "DefaultRuntime": runtime, "Runtimes": has.get("runtimes", {}), "GenericResources": listed}
        )

    def text(self, path: str) -> str | None:
        file = self.root / path[1:]
        return file.read_text() if file.exists() else None

    def facts(self) -> HostFacts:
        support = GpuSupport(
            len(self.gpus),
            tool=True,
            driver="570",
            toolkit="1.19.1" if TOOLKIT in self.packages else "",
            config=HostFile(self.text(CONFIG)),
            daemon=HostFile(self.text(DAEMON)),
        )
        return HostFacts(
            "10.0.0.2", 2, 8 << 30, 6 << 30, 9 << 30, 5 << 30, 0.1, "debian 12", "27", gpus=self.gpus, support=support
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.setattr(gpu_prepare, "gather", lambda machine: machine.facts())
    return Folder(tmp_path)


def prepared(host: Folder) -> list[str]:
    return prepare_gpus(host, "auto", lambda _: None)


def undone(host: Folder) -> list[str]:
    return undo_gpus(host, lambda _: None)


def interrupted(host: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that ended before the restart."""

    def interrupt(machine: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gpu_prepare, "restart", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepared(host)


def as_before(host: Folder) -> bool:
    lists = list((host.root / "var/lib/apt/lists").iterdir())
    files = (host.text(DAEMON), host.text(CONFIG), host.text(NOTES))
    return files == (THEIRS, None, None) and host.packages == {"bash"} and not lists and host.daemon == THEIRS


def test_there_and_back(host: Folder) -> None:
    assert prepared(host)[-1] == "restarted the engine"
    assert prepared(host) == []
    assert told(host)
    assert undone(host) == ["its engine's settings as before its GPUs", f"{TOOLKIT} removed"]
    assert as_before(host)
    assert not told(host)
    assert undone(host) == []


def test_a_toolkit_is_still_ours_after_the_engine_refused_its_settings(host: Folder) -> None:
    host.refuses = "default-runtime"
    with pytest.raises(HostError, match=r"did not take the new .*; the old one is back and the engine runs"):
        prepared(host)
    assert host.text(DAEMON) == THEIRS
    assert TOOLKIT in host.packages
    before = host.restarts
    assert undone(host) == [f"{TOOLKIT} removed"]
    assert host.restarts == before, "the engine was told of nothing"
    assert as_before(host)


def test_what_was_not_ours_leaves_no_notes_after_a_refusal(host: Folder) -> None:
    host.packages.add(TOOLKIT)
    host.refuses = "default-runtime"
    with pytest.raises(HostError, match="did not take"):
        prepared(host)
    assert not told(host)


def test_a_second_card_is_told_as_well_and_the_way_back_is_to_the_first_bytes(host: Folder) -> None:
    prepared(host)
    host.gpus = (ONE, TWO)
    assert prepared(host) == ["told toolkit and engine of its GPUs", "restarted the engine"]
    assert "OCCAM_GPU_GPU_B=GPU-b" in host.daemon
    undone(host)
    assert as_before(host)


def test_an_engine_that_refuses_a_second_card_keeps_the_first(host: Folder) -> None:
    prepared(host)
    working = host.text(DAEMON), host.text(CONFIG)
    host.gpus, host.refuses = (ONE, TWO), "GPU-b"
    with pytest.raises(HostError, match="the old one is back and the engine runs"):
        prepared(host)
    assert (host.text(DAEMON), host.text(CONFIG)) == working
    assert "OCCAM_GPU_GPU_A=GPU-a" in host.daemon
    undone(host)
    assert as_before(host)


def test_what_an_interrupted_try_has_written_is_not_what_worked(host: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    host.packages.add(TOOLKIT)
    interrupted(host, monkeypatch)
    assert "GPU-a" in str(host.text(DAEMON))
    host.refuses = "GPU-a"
    with pytest.raises(HostError, match="the old one is back and the engine runs"):
        prepared(host)
    assert (host.text(DAEMON), host.daemon, told(host)) == (THEIRS, THEIRS, False)


def test_where_the_last_settings_do_not_work_either_the_first_do(host: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    host.packages.add(TOOLKIT)
    interrupted(host, monkeypatch)
    host.gpus, host.refuses = (ONE, TWO), "GPU-a"
    with pytest.raises(HostError, match="the old one is back and the engine runs"):
        prepared(host)
    assert (host.text(DAEMON), host.daemon, told(host)) == (THEIRS, THEIRS, False)


def test_notebooks_keep_the_engine_from_a_restart_and_the_courses_own_keepers_do_not(host: Folder) -> None:
    host.containers = [*KEEPERS, "3 notebook", "4 "]
    with pytest.raises(Refused, match="ends 2 running containers") as refused:
        prepared(host)
    assert "--restart-engine" in refused.value.fix
    assert as_before(host)
    host.containers = KEEPERS
    prepared(host)
    with pytest.raises(Refused, match="ends 2 running containers"):  # a course that is up lends them
        undone(host)
