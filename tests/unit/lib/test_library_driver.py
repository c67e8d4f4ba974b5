"""What can be tried of the driver without a JVM: ports, files, and what killed kernels left."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from occam import driver
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


def test_what_killed_kernels_left_is_removed_and_what_lives_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    alive = os.getpid()
    for name in (f"occam-{dead}-a", f"occam-{alive}-b", "occam-notes-c"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(driver, "_TMPFS", tmp_path)
    driver._forget_the_dead()
    assert sorted(left.name for left in tmp_path.iterdir()) == sorted([f"occam-{alive}-b", "occam-notes-c"])
