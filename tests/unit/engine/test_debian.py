"""The image below all others leaves nothing of itself where it was not before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound

from occamctl.engine import debian, leftovers
from occamctl.engine.debian import BASE, PULLED, _debootstrap, ensure_base
from occamctl.errors import EngineError

OURS = "localhost/occam/hub:1"


class Images:
    """The images of an engine, by name, and a registry that has every one."""

    def __init__(self) -> None:
        self.there = dict[str, str]()

    def inspect_image(self, tag: str) -> dict[str, Any]:
        if tag not in self.there:
            raise ImageNotFound("404")
        return {"RepoTags": sorted(name for name, number in self.there.items() if number == self.there[tag])}

    def images(self, filters: object) -> list[dict[str, Any]]:
        return [{"Id": "ours", "RepoTags": [OURS]}]

    def pull(self, tag: str, **_: object) -> Iterator[dict[str, str]]:
        self.there[tag] = "pulled"
        yield {"status": "done"}

    def tag(self, tag: str, repository: str, name: str) -> None:
        self.there[f"{repository}:{name}"] = self.there[tag]


def engine(api: Images) -> Any:
    return SimpleNamespace(name="here", api=api)


def test_what_was_pulled_goes_with_our_images() -> None:
    api = Images()
    assert ensure_base(engine(api), print) == BASE
    assert leftovers._images(engine(api)) == [OURS, BASE, PULLED]
    api.there[BASE] = "somebody pulled a newer one"
    assert leftovers._images(engine(api)) == [OURS, PULLED]


def test_what_was_there_before_stays() -> None:
    api = Images()
    api.there[BASE] = "somebody's"
    assert ensure_base(engine(api), print) == BASE
    assert leftovers._images(engine(api)) == [OURS]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was run on a machine without debootstrap and wget."""
    said, packages = list[str](), {"bash", "dpkg"}

    def run(command: list[str], _engine: object) -> None:
        said.append(" ".join(word for word in command if not word.startswith("-") and "=" not in word))
        if "install" in command:
            packages.update({"debootstrap", "wget"})
        if command[-1] == "fails":
            raise EngineError("it failed")

    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(debian, "_packages", lambda: set(packages))
    monkeypatch.setattr(debian, "_run", run)
    return said


def test_debootstrap_is_there_for_as_long_as_it_is_needed(ran: list[str]) -> None:
    with pytest.raises(EngineError), _debootstrap(engine(Images()), print):
        debian._run(["make-debian", "fails"], engine(Images()))
    assert ran == ["apt-get install debootstrap", "make-debian fails", "apt-get purge debootstrap wget"]


def test_debootstrap_that_is_there_stays(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/sbin/debootstrap")
    with _debootstrap(engine(Images()), print):
        pass
    assert ran == []


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="no Debian")
def test_the_packages_of_this_machine() -> None:
    assert {"dpkg", "bash"} <= debian._packages()
