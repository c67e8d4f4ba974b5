"""Sources of data on this machine: the same bytes every time, from any byte on; and the far end's files."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from occamctl import engine
from occamctl.actions.data_source import Local
from occamctl.errors import SpecError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "b.bin").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "set" / "deep" / f"{'long' * 40}.txt").write_text("x" * 512)
    (tmp_path / "set" / "empty").touch()
    return tmp_path / "set"


def test_a_folder_is_a_tar_that_is_the_same_every_time(folder: Path) -> None:
    local = Local(folder)
    content = b"".join(local._content())
    assert len(content) == local.size
    assert local.name == "set.tar"
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        found = {one.name: one.size for one in packed}
    assert found == {"b.bin": 2560, "empty": 0, f"deep/{'long' * 40}.txt": 512}
    (folder / "b.bin").touch()
    assert b"".join(Local(folder)._content()) == content
    assert [b"".join(local._content(skip)) for skip in (1, 700, len(content))] == [
        content[skip:] for skip in (1, 700, len(content))
    ]


def test_what_cannot_be_sent_is_told(folder: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        Local(folder / "nothing")
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(SpecError, match="no plain file"):
        Local(folder).sha256(lambda _: None)


# The far end, with a folder in place of the volume ------------------------------------------------------------------


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(engine.__file__).parent))
    module = importlib.import_module("data_inside")
    monkeypatch.setattr(module, "ROOT", tmp_path / "data")
    module.ROOT.mkdir()
    yield module
    sys.modules.pop("data_inside")


def begun(far: ModuleType, content: bytes = b"abc") -> dict[str, object]:
    """A set whose files are still to come, and its manifest."""
    file = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {"name": "x", "source": "x.csv", "sha256": "", "size": 3, "rows": None, "files": {"in/a": file}}
    assert far.want("x", manifest) == ["in/a"]
    return manifest


def test_a_set_is_seen_when_it_is_whole_and_not_before(far: ModuleType) -> None:
    manifest = begun(far)
    with pytest.raises(far.Wrong, match="did not come whole"):
        far.put("x")
    (far.ROOT / ".incoming" / "x" / "out" / "in" / "a").write_bytes(b"abd")
    with pytest.raises(far.Wrong, match="did not come whole"):
        far.put("x")
    assert far.look() == {}
    assert (far.ROOT / ".incoming").stat().st_mode & 0o777 == 0o700
    assert far.want("x", manifest) == ["in/a"], "a wrong one comes again"
    (far.ROOT / ".incoming" / "x" / "out" / "in" / "a").write_bytes(b"abc")
    far.put("x")
    assert far.look(deep=True)["x"]["wrong"] == []
    assert list((far.ROOT / ".incoming").iterdir()) == []


def test_a_changed_file_is_found_and_only_that_one_is_wanted(far: ModuleType) -> None:
    manifest = begun(far)
    (far.ROOT / ".incoming" / "x" / "out" / "in" / "a").write_bytes(b"abc")
    far.put("x")
    assert far.want("x", manifest) == [], "what is there need not come again"
    (far.ROOT / "x" / "in" / "a").write_bytes(b"abd")
    assert far.look()["x"]["wrong"] == [], "sizes tell no more"
    assert far.look(deep=True)["x"]["wrong"] == ["in/a"]
    (far.ROOT / "x" / "_occam.json").unlink()
    assert far.look()["x"]["wrong"] == ["_occam.json"]
    assert far.remove("x") is True
    assert far.remove("x") is False


def test_the_source_of_another_key_begins_anew(far: ModuleType) -> None:
    assert far.begin("x", "one") == 0
    (far.ROOT / ".incoming" / "x" / "source").write_bytes(b"12345")
    assert far.begin("x", "one") == 5
    assert far.begin("x", "two") == 0
    assert json.loads((far.ROOT / ".incoming" / "x" / "source.json").read_text()) == {"key": "two"}
