"""What is sent of an application, and what it is called."""

from __future__ import annotations

import _thread
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from occamctl import wait
from occamctl.actions.applications import MOST_BYTES, Application, new_name, submit
from occamctl.errors import Refused, SpecError
from occamctl.gateway import application
from occamctl.spec import names


@pytest.mark.parametrize("called", ["pi.py", "My Long_Program-2.py", "2020.py", "-.py", "ä.py", "a-------b.py"])
def test_a_name_from_the_file_is_a_clusters_name(called: str) -> None:
    name = new_name(Path(called))
    assert names.CLUSTER_NAME.fullmatch(name), name
    assert len(name) <= names.MAX_CLUSTER
    assert name != new_name(Path(called))


def test_what_is_sent_is_what_the_gateway_takes(tmp_path: Path) -> None:
    (tmp_path / "pi.py").write_text("print(3)")
    (tmp_path / "more.py").write_text("")
    made = Application(tmp_path / "pi.py", ("10", "--x"), [tmp_path / "more.py"], {"spark.sql.x": "1"})
    taken = application.read(made.body())
    assert taken.files == {"pi.py": b"print(3)", "more.py": b""}
    assert (taken.main, taken.py_files, taken.arguments) == ("pi.py", ("more.py",), ("10", "--x"))


def test_what_cannot_be_sent_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere.py: cannot be read: No such file"):
        Application(tmp_path / "nowhere.py").body()
    (tmp_path / "big.py").write_bytes(bytes(MOST_BYTES + 1024))
    with pytest.raises(SpecError, match="together, and 450K can be sent"):
        Application(tmp_path / "big.py").body()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.py").touch()
    (tmp_path / "a.py").touch()
    with pytest.raises(SpecError, match="the same name"):
        Application(tmp_path / "a.py", py_files=[tmp_path / "sub" / "a.py"]).body()


class Slow:
    """A gateway whose answer to a request for a cluster is still to come when Ctrl-C is pressed."""

    def __init__(self, refusal: Refused | None) -> None:
        self.refusal, self.deleted = refusal, list[str]()

    def post(self, path: str, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        wait.nap(0.2)
        _thread.interrupt_main()
        wait.nap(0.2)
        if self.refusal:
            raise self.refusal
        return {"owner": "course", "name": body["name"], "app_id": "app-1"}

    def delete(self, path: str, timeout: float) -> None:
        self.deleted.append(path)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """It is heard, also when these tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_the_gateway_makes_it_ends_it_and_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "pi.py").touch()
    for refusal, deleted in (
        (None, ["/users/course/clusters/night?app_id=app-1"]),
        (Refused("there is a cluster night already"), []),
    ):
        session: Any = SimpleNamespace(gateway=Slow(refusal))
        with pytest.raises(KeyboardInterrupt):
            submit(session, "", Application(tmp_path / "pi.py"), name="night")
        assert session.gateway.deleted == deleted
