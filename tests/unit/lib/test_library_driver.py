"""What can be tried of the driver without a JVM: ports, files, and what killed kernels left."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from occam import driver, keeper, kept
from occam.errors import NotStarted

SECRET = {"spark.authenticate.secret": "s3cret-s3cret-s3cret", "spark.driver.memory": "768m"}


def test_a_free_port_is_one_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(driver, "_PORTS", range(port, port + 1))
        with pytest.raises(NotStarted, match="no free port"):
            driver.free_port("127.0.0.1")
    assert driver.free_port("127.0.0.1") == port


def test_the_command_line_holds_no_secret(tmp_path: Path) -> None:
    command = driver._command(SECRET | {"spark.driver.extraJavaOptions": "-Da=1 -Db=2"}, tmp_path)
    assert "s3cret" not in " ".join(command)
    assert {"-Xmx768m", "-Da=1", "-Db=2", str(tmp_path / "spark.conf")} <= set(command)


def test_a_secret_file_is_its_owners_and_never_overwritten(tmp_path: Path) -> None:
    driver._write(tmp_path / "token", "t0ken")
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o400
    with pytest.raises(FileExistsError):
        driver._write(tmp_path / "token", "another")


def test_what_killed_keepers_left_is_removed_and_what_lives_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    starting, left, kept_on, other = (
        tmp_path / name
        for name in (f"occam-driver-{os.getpid()}-a", f"occam-driver-{dead}-b", f"occam-driver-{dead}-c", "occam-notes")
    )
    for folder in (starting, left, kept_on, other):
        folder.mkdir()
    monkeypatch.setattr(kept, "TMPFS", tmp_path)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(kept_on / keeper.DOOR))
        door.listen()
        kept.forget_the_dead()
    assert sorted(tmp_path.iterdir()) == sorted([starting, kept_on, other])
