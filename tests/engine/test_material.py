"""Material by its keeper and in a real notebook: what is not due is nowhere, and what is mine stays mine."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from occamctl import wait
from occamctl.actions import material
from occamctl.actions.homes import Home, look
from occamctl.actions.sources import Content
from occamctl.engine import images, material_inside
from occamctl.engine.client import Engine
from occamctl.errors import EngineError
from occamctl.plan.material import PLACE, PROGRAM, Manifest, command

pytestmark = pytest.mark.engine

HUB_NET, OWN_NET = "10.197.43.0/26", "10.197.43.64/26"
LABELS = {"occam.test": "material"}
KEEPER = "tasks.ml-material"
URL = f"git://{KEEPER}/material.git"
NOTE = "/home/student/MATERIAL-NOT-UPDATED.txt"
LINES = "".join(f"line {number}\n" for number in range(9))
LAB = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)


@dataclass
class Stage:
    """A keeper and notebooks on two networks, as in a course."""

    engine: Engine
    image: str
    folder: Path
    prefix: str
    keeper: str = ""
    cleanup: ExitStack = field(default_factory=ExitStack)

    def network(self, name: str, subnet: str) -> None:
        ipam = {"Driver": "default", "Config": [{"Subnet": subnet}]}
        self.engine.api.create_network(f"{self.prefix}-{name}", ipam=ipam, labels=LABELS)
        self.cleanup.callback(self.engine.api.remove_network, f"{self.prefix}-{name}")

    def volume(self, **options: str) -> str:
        name = f"{self.prefix}-{uuid.uuid4().hex[:6]}"
        self.engine.api.create_volume(name, labels=LABELS, driver_opts=options or None)
        self.cleanup.callback(self.engine.api.remove_volume, name, force=True)
        return name

    def create(self, words: list[str], capabilities: list[str], binds: list[str], **more: Any) -> str:
        """A container on the hub's network; not started."""
        api, net = self.engine.api, f"{self.prefix}-hub"
        alias = {net: api.create_endpoint_config(aliases=more.pop("aliases", None))}
        made: str = api.create_container(
            self.image, words, labels=LABELS, user="0", networking_config=api.create_networking_config(alias),
            host_config=api.create_host_config(
                network_mode=net, cap_drop=["ALL"], cap_add=capabilities, binds=binds
            ), **more,
        )["Id"]  # fmt: skip
        self.cleanup.callback(api.remove_container, made, force=True, v=True)
        return made

    def run_keeper(self) -> None:
        program = f"{material_inside.__file__}:{PROGRAM}:ro"
        binds = [f"{self.volume()}:{PLACE}", program]
        rights = ["SETUID", "SETGID", "SETPCAP"]
        self.keeper = self.create(command("serve"), rights, binds, aliases=[KEEPER])
        self.engine.api.start(self.keeper)
        wait.until(self.told, bool, "the keeper's first word", seconds=60)

    def publish(self, files: dict[str, str], release: dict[str, float] | None = None, into: str = "labs") -> None:
        """What `course up` does with a folder that holds these files."""
        folder = self.folder / uuid.uuid4().hex[:12]
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        content = Content(folder.name, {path: folder / path for path in files})
        material.send(self.engine, self.keeper, content)
        entry = {"into": into, "source": "a test", "content": content.name, "release": release or {}}
        manifest = Manifest((entry,))
        material.take(self.engine, self.keeper, manifest)
        seen = material.look(self.engine, self.keeper)
        assert (seen.digest, seen.contents) == (manifest.digest, {content.name}), "told before it answers"

    def told(self) -> bool:
        """Whether the keeper has said what it has."""
        try:
            material.look(self.engine, self.keeper)
        except EngineError:
            return False
        return True

    def notebook(self, home: str, url: str = URL) -> str:
        """A notebook's container as the gateway makes it, with a stand-in for the server."""
        env = {"OCCAM_HUB_SUBNET": HUB_NET, "OCCAM_NET_SUBNET": OWN_NET, "OCCAM_MATERIAL_URL": url}
        env |= {"OCCAM_HOME_ID": "home-1", "OCCAM_HOME_STATE": "new"}
        rights = ["NET_ADMIN", "SETUID", "SETGID", "SETPCAP"]
        made = self.create(["occam-notebook", "sleep", "600"], rights, [f"{home}:/home"], environment=env)
        self.engine.api.connect_container_to_network(made, f"{self.prefix}-own")
        self.engine.api.start(made)
        wait.until(lambda: self.said(made, "pgrep -x sleep || true"), bool, "the stand-in for the server", seconds=60)
        return made

    def said(self, container: str, script: str, user: str = "1000") -> str:
        words = ["env", "HOME=/home/student", "sh", "-c", f"cd /home/student 2>/dev/null; {script}"]
        code, out, err = self.engine.exec(container, words, user=user, seconds=60)
        return (out + err).decode() + (f"exit {code}" if code else "")

    def pull(self, container: str, how: str = "now") -> str:
        return self.said(container, f"/opt/occam/venv/bin/python -I -m occam.delivery {how}")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    engine, wanted = Engine.local(), images.notebook_image()
    images.ensure_built(engine, wanted, print)
    made = Stage(engine, wanted.tag, tmp_path_factory.mktemp("material"), f"occam-material-{uuid.uuid4().hex[:6]}")
    with made.cleanup:
        made.network("hub", HUB_NET)
        made.network("own", OWN_NET)
        made.run_keeper()
        yield made


@pytest.fixture
def home(stage: Stage) -> str:
    return stage.volume()


OWN = "git init -q labs; git -C labs -c user.name=t -c user.email=t@t commit -qm x --allow-empty"
FILES = {"01.ipynb": LAB, "lines.txt": LINES, "sub/Übung 1.txt": "one\n", "gone.txt": "soon\n"}


def test_a_students_changes_survive_whatever_the_course_does(stage: Stage, home: str) -> None:
    stage.publish(FILES)
    notebook = stage.notebook(home)
    assert stage.said(notebook, "cat labs/sub/Üb*; stat -c %u labs/lines.txt") == "one\n1000\n"
    stage.said(
        notebook,
        "cd labs; sed -i 's/line 1/my line 1/' lines.txt; rm sub/*; echo mine > new.txt; echo mine > own.txt;"
        """ sed -i 's/"cells": \\[\\]/"cells": [1]/' 01.ipynb; echo '{broken' >> 01.ipynb""",
    )
    later = {"lines.txt": LINES.replace("line 8", "LINE 8"), "new.txt": "theirs\n", "01.ipynb": LAB + " "}
    stage.publish(FILES | later | {"gone.txt": "changed\n"})
    told = stage.pull(notebook, "new")
    assert "yours, under a new name: new__20" in told
    assert "back again: sub/Übung 1.txt" in told
    lines = stage.said(notebook, "cat labs/lines.txt")
    assert lines == LINES.replace("line 1", "my line 1").replace("line 8", "LINE 8"), "both sides' lines"
    assert stage.said(notebook, "cat labs/new.txt labs/new__*.txt labs/own.txt") == "theirs\nmine\nmine\n"
    assert "[1]" in stage.said(notebook, "cat labs/01.ipynb"), "not merged into something else"
    stage.said(notebook, "echo mine > labs/gone.txt")
    stage.publish({"lines.txt": LINES})
    assert "gone.txt" not in stage.pull(notebook).partition("taken away")[2]
    assert stage.said(notebook, "cat labs/gone.txt labs/lines.txt").startswith("mine\nline 0\nmy line 1\n")
    found = look(stage.engine, Home(home, "anna", "here"), stage.image)
    assert found.files >= 4, "lines, gone, own and the renamed one are somebody's work"
    assert ".git" not in "".join(found.some)


def test_what_is_in_the_way_is_renamed_and_a_notebook_stays_readable(stage: Stage, home: str) -> None:
    """A file where the course has a folder now, a folder where it has a file, a link out of the home, a notebook."""
    before = '{"cells": [\n "b"\n],\n"n": 3\n}\n'
    stage.publish({"nb.ipynb": before, "folder/a": "a", "keep.txt": "x"})
    notebook = stage.notebook(home)
    mine = '{"cells": [\n "b",\n "mine"],\n"n": 3\n}\n'
    stage.said(
        notebook,
        "cd labs; echo mine > new; mkdir file; echo mine > file/mine; ln -s /tmp link; echo mine >> folder/a;"
        f" printf '{mine}' > nb.ipynb",
    )
    after = {"new/a": "a", "file": "f", "link/a": "a", "folder": "f", "keep.txt": "x"}
    stage.publish(after | {"nb.ipynb": '{"cells": [\n "b"\n]\n}\n'})
    assert "nb.ipynb" in stage.pull(notebook)
    assert stage.said(notebook, "cat labs/nb.ipynb") == mine, "lines of both would be no JSON"
    assert stage.said(notebook, "cd labs; cat new__*; cat file__*/mine; cat folder__*/a") == "mine\nmine\namine\n"
    assert stage.said(notebook, "readlink labs/link__*; ls /tmp/a") != "/tmp\n/tmp/a\n", "nothing is written through it"
    assert stage.said(notebook, "cd labs; cat new/a file link/a folder keep.txt") == "afafx"
    assert stage.pull(notebook) == "labs: nothing new\n"


def test_what_was_only_delivered_is_nobodys_work(stage: Stage, home: str) -> None:
    stage.publish(FILES)
    stage.notebook(home)
    assert look(stage.engine, Home(home, "anna", "here"), stage.image).files == 0


def test_nothing_that_is_not_due_can_be_read(stage: Stage, home: str) -> None:
    """Not in the home, not from the server by its name, and not by whom git's server runs as."""
    soon = time.time() + 15
    secret = f"the solution {uuid.uuid4().hex}\n"
    stage.publish({"01.ipynb": LAB, "02-solution.txt": secret}, {"02-*": soon})
    notebook = stage.notebook(home)
    blob = stage.said(notebook, f"printf '{secret}' | git hash-object --stdin").strip()
    assert stage.said(notebook, "ls labs").split() == ["01.ipynb"]
    grep = f"grep -rl '{secret.strip()}' /home /opt/occam/lib /srv /tmp /dev/shm 2>/dev/null; true"
    assert stage.said(notebook, grep) == ""
    fetch = f"git init -q /tmp/t; git -C /tmp/t fetch -q {URL} {blob} 2>&1"
    assert "not our ref" in stage.said(notebook, fetch)
    assert "exit" in stage.said(notebook, f"git ls-remote git://{KEEPER}/../full 2>&1")
    assert "Permission denied" in stage.said(stage.keeper, f"ls {PLACE}/full")
    assert stage.said(stage.keeper, "pgrep -u 1000 -x git-daemon"), "the twin: the server is that user"
    wait.nap(max(0.0, soon - time.time()))
    wait.until(lambda: stage.pull(notebook, "new"), lambda told: "02-solution.txt" in told, "the release", seconds=15)
    assert stage.said(notebook, "cat labs/02-solution.txt") == secret
    assert blob in stage.said(notebook, "git -C labs ls-tree -r HEAD"), "the twin: that was its name"


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        ("touch labs/.git/index.lock", "labs: nothing new"),
        ("rm labs/.git/HEAD", "labs: set up anew; as you left them: lines.txt"),
        ("rm -rf labs/.git/objects", "labs: set up anew; as you left them: lines.txt"),
        ("rm -rf labs/.git; echo text > labs/.git", "labs: set up anew; as you left them: lines.txt"),
        ("rm -rf labs; echo text > labs", "not updated: labs: there is a file labs; rename it"),
        (f"rm -rf labs; {OWN}", "not updated: labs: labs is a git repository of your own; rename the folder"),
    ],
)
def test_a_repository_that_is_harmed_keeps_no_notebook_from_starting(
    stage: Stage, home: str, harm: str, line: str
) -> None:
    stage.publish(FILES)
    first = stage.notebook(home)
    stage.said(first, f"echo mine >> labs/lines.txt; {harm}")
    stage.engine.api.kill(first)
    again = stage.notebook(home)
    assert line in stage.engine.api.logs(again).decode()
    if line.startswith("not updated"):
        assert "rename" in stage.said(again, f"cat {NOTE}")
        assert "set up anew" not in stage.pull(again, "new"), "it stays said"
        assert stage.said(again, "rm -rf labs") == ""
        assert "4 files" in stage.pull(again, "new")
        assert "No such file" in stage.said(again, f"cat {NOTE}")
    else:
        assert stage.said(again, "tail -n1 labs/lines.txt; cat labs/sub/*") == "mine\none\n"


def test_a_full_disk_keeps_no_notebook_from_starting(stage: Stage) -> None:
    stage.publish(FILES | {"large.txt": uuid.uuid4().hex * 60_000})
    small = stage.volume(type="tmpfs", device="tmpfs", o="size=1m,mode=0755")
    begin = ["sh", "-c", "mkdir -p /home/student && chown 1000:1000 /home/student && sleep 300"]
    stage.engine.api.start(stage.create(begin, ["CHOWN"], [f"{small}:/home"]))
    notebook = stage.notebook(small)
    assert "the disk is full" in stage.engine.api.logs(notebook).decode()
    assert "disk is full" in stage.said(notebook, f"cat {NOTE}")


def test_a_keeper_that_is_away_keeps_no_notebook_from_starting(stage: Stage, home: str) -> None:
    notebook = stage.notebook(home, f"git://{KEEPER}-not/material.git")
    assert "cannot be reached" in stage.said(notebook, f"cat {NOTE}")
