"""`course down`, as far as it can be told without hosts."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from occamctl.actions import down, homes
from occamctl.actions.session import Session
from occamctl.cli.main import main
from occamctl.engine import leftovers
from occamctl.errors import HostError, PartlyDone
from occamctl.hosts import gpu_prepare
from occamctl.spec.course import Course

FILE = "version: 1\ncourse: ml\nhosts: [a, b, c]\n"
HOSTS: dict[str, Any] = {"version": 1, "course": "ml", "hosts": ["a", "b", "c"]}


def away(*names: str) -> tuple[dict[str, Any], dict[str, HostError]]:
    """Hosts that answer, and those that do not."""
    there = {name: object() for name in HOSTS["hosts"] if name not in names}
    return there, {name: HostError("cannot connect", where=name) for name in names}


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The hosts that were taken down, each time."""
    times = list[tuple[str, ...]]()
    monkeypatch.setattr(down, "_take_down", lambda session, say, keep_images: times.append(tuple(session.machines)))
    monkeypatch.setattr(down, "holding", lambda machine, course: nullcontext())
    return times


@pytest.mark.parametrize("names", [("b",), ("a", "c")])
def test_the_hosts_that_answer_are_done_and_the_others_named(
    names: tuple[str, ...], done: list[tuple[str, ...]]
) -> None:
    connecting: Future[Any] = Future()
    connecting.set_result(away(*names))
    session = Session(Course.model_validate(HOSTS), Path("o.yaml"), connecting)
    with pytest.raises(PartlyDone) as told:
        down.down(session, lambda where, what: None)
    assert done == [tuple(name for name in "abc" if name not in names)]
    assert told.value.what == f"done, but not on {', '.join(names)}"
    assert told.value.fix == "run: occamctl course down, again when they answer"
    assert told.value.others == [session.errors[name] for name in names]


@pytest.mark.parametrize(("names", "code"), [(("b",), 7), ((), 0)])
def test_the_exit_code_with_a_host_away(
    names: tuple[str, ...],
    code: int,
    done: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "occam.yaml").write_text(FILE)
    some = down.Found({"a": leftovers.Left(volumes=("ml-hub-data",))}, ())
    monkeypatch.setattr(down, "find", lambda session: some)
    monkeypatch.setattr("occamctl.actions.session.connect_all", lambda course, only=None: away(*names))
    monkeypatch.setattr(Session, "close", lambda session: None)
    with pytest.raises(SystemExit) as ended:
        main(["course", "down", "-y", "-c", str(tmp_path / "occam.yaml")])
    assert ended.value.code == code
    told = capsys.readouterr()
    assert "b: cannot connect" in told.err if code else "Course ml is gone from a, b, c." in told.out


@pytest.mark.parametrize(
    ("prepared", "others", "found"),
    [({"lab1"}, set(), ("lab1",)), (set(), set(), ()), ({"lab1"}, {"physics"}, ())],
)
def test_gpu_settings_are_something_to_take_down_until_they_are_gone(
    monkeypatch: pytest.MonkeyPatch, prepared: set[str], others: set[str], found: tuple[str, ...]
) -> None:
    monkeypatch.setattr(leftovers, "left", lambda engine, course: leftovers.Left())
    monkeypatch.setattr(leftovers, "other_courses", lambda engine, course: others)
    monkeypatch.setattr(gpu_prepare, "told", lambda machine: machine in prepared)
    monkeypatch.setattr(down, "_image_with_python", lambda session, there: "")
    monkeypatch.setattr(down, "_data", lambda session, image: {})
    monkeypatch.setattr(homes, "with_work", lambda session, image: ())
    machines = {"lab1": "lab1", "lab2": "lab2"}
    session = SimpleNamespace(
        machines=machines, errors={}, engine=lambda host: None, course=SimpleNamespace(course="ml")
    )
    there = down.find(cast(Any, session))
    assert there.gpus == found
    assert there.empty == (not found)
