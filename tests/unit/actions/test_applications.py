"""What is sent of an application, and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from occamctl.actions.applications import MOST_BYTES, Application, new_name
from occamctl.errors import SpecError
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
