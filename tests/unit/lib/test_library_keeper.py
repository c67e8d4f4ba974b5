"""The keeper with a process in place of the JVM: it ends when its input does, and says how it ended."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import occam
import pytest
from occam import keeper, kept
from occam.kept import Kept

ENDS_WITH_ITS_INPUT = [sys.executable, "-ISc", "import sys; sys.stdin.read(); sys.exit(7)"]
NEVER_ENDS = [sys.executable, "-ISc", "import time; time.sleep(60)"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(kept, "TMPFS", tmp_path)
    yield kept.folder()
    for one in kept._children:
        one.kill()


def start(folder: Path, command: list[str] = ENDS_WITH_ITS_INPUT) -> Kept:
    there = kept.start(folder, command, os.environ, folder.parent / "log")
    there.await_jvm()
    return there


def until(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"still not after {seconds} s"
        time.sleep(0.05)


def lives(pid: int) -> bool:
    return bool(keeper.born(pid))


def test_a_stop_ends_the_jvm_in_order_and_removes_the_folder(folder: Path) -> None:
    there = start(folder)
    assert not there.ended()
    assert there.stop() == 7
    assert there.stop() == 7
    assert there.ended()
    assert not folder.exists()


def test_a_jvm_that_is_killed_at_the_start_is_not_waited_for(folder: Path) -> None:
    there = start(folder, NEVER_ENDS)
    began = time.monotonic()
    assert there.stop(kill=True) == -9
    assert time.monotonic() - began < 5


def test_a_jvm_that_ends_by_itself_is_noticed(folder: Path) -> None:
    there = start(folder, [sys.executable, "-ISc", "raise SystemExit(3)"])
    until(there.ended)
    until(lambda: there.stop() is not None)
    assert there.code == 3


def test_a_command_that_cannot_be_run_is_an_error_in_words(folder: Path) -> None:
    with pytest.raises(occam.NotStarted, match="java cannot be run"):
        start(folder, ["/nowhere/java"])


def test_who_comes_back_within_the_grace_gets_the_running_jvm_and_its_state(folder: Path) -> None:
    first = start(folder)
    first.ready("k1", "lab", 30, {"port": 1234})
    assert kept.take("k1", "other") is None
    assert kept.take("k2", "lab") is None
    first.leave()
    again = kept.take("k1", "lab")
    assert again is not None
    assert (again.jvm, again.state) == (first.jvm, {"port": 1234})
    assert not again.ended()
    assert again.stop() == 7


def test_a_grace_that_is_over_ends_the_jvm(folder: Path) -> None:
    there = start(folder)
    there.ready("k1", "lab", 1, {})
    there.leave()
    time.sleep(0.5)
    assert lives(there.jvm)
    until(lambda: not lives(there.jvm))
    until(lambda: not folder.exists())
    assert kept.take("k1", "lab") is None


@pytest.mark.parametrize(("kernel", "ready"), [("", True), ("k1", False)])
def test_a_kernel_that_cannot_come_back_or_never_got_ready_has_no_grace(folder: Path, kernel: str, ready: bool) -> None:
    there = start(folder)
    if ready:
        there.ready(kernel, "lab", 30, {})
    there.leave()
    until(lambda: not folder.exists())
    assert not lives(there.jvm)


def test_a_killed_kernel_is_noticed_even_while_a_child_of_it_holds_the_connection(folder: Path) -> None:
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(occam.__file__).parents[1])!r})
        from pathlib import Path
        from occam import kept
        folder = Path({str(folder)!r})
        there = kept.start(folder, {ENDS_WITH_ITS_INPUT!r}, os.environ, folder.parent / "log")
        there.await_jvm()
        print(there.jvm, flush=True)
        if os.fork() == 0:
            signal.pause()
        os.kill(os.getpid(), 9)
    """
    kernel = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, process_group=0)
    assert kernel.stdout is not None
    jvm = int(kernel.stdout.readline())
    assert kernel.wait(20) == -9
    try:
        until(lambda: not lives(jvm))
        until(lambda: not folder.exists())
    finally:
        os.killpg(kernel.pid, 9)


def test_the_end_of_the_keeper_itself_ends_the_jvm(folder: Path) -> None:
    there = start(folder)
    kept._children[-1].kill()
    kept._children[-1].wait()
    until(there.ended)
    assert there.stop() is None
