"""What the keeper of the material publishes, and when; with a real git."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from occamctl.engine.material_inside import Shelf, due, matches


@pytest.mark.parametrize(
    ("path", "pattern", "means"),
    [
        ("03-mllib.ipynb", "03-*", True),
        ("03-mllib.ipynb", "03-*.ipynb", True),
        ("more/03-mllib.ipynb", "03-*", True),
        ("more/03-mllib.ipynb", "/03-*", False),
        ("03-mllib.ipynb", "/03-*", True),
        ("solutions/01.ipynb", "solutions", True),
        ("solutions/01.ipynb", "solutions/", True),
        ("a/solutions/01.ipynb", "solutions", True),
        ("a/solutions/01.ipynb", "/solutions", False),
        ("a/b/c.txt", "a/b", True),
        ("a/b/c.txt", "a/*/c.txt", True),
        ("a/b/c.txt", "b/c.txt", False),
        ("a/b/c.txt", "a/*", True),
        ("x.txt", "*", True),
        ("x.txt", "X.txt", False),
    ],
)
def test_a_pattern_means_what_gitignore_means(path: str, pattern: str, means: bool) -> None:
    assert matches(path, pattern) is means


def test_the_latest_date_of_all_that_mean_a_file_counts() -> None:
    release = {"*.ipynb": 10.0, "02-*": 20.0, "solutions": 30.0}
    dates = {path: due(release, path) for path in ("01.ipynb", "02-a.ipynb", "solutions/01.ipynb", "a.txt")}
    assert dates == {"01.ipynb": 10, "02-a.ipynb": 20, "solutions/01.ipynb": 30, "a.txt": 0}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def put(shelf: Shelf, content: str, files: dict[str, str], release: dict[str, float], into: str = "labs") -> None:
    for path, text in files.items():
        (shelf.full / content / path).parent.mkdir(parents=True, exist_ok=True)
        (shelf.full / content / path).write_text(text)
    (shelf.full / f"{content}.whole").touch()
    shelf.take({"digest": content, "entries": [entry(content, release, into)]})


def entry(content: str, release: dict[str, float], into: str) -> dict[str, Any]:
    return {"into": into, "source": "a test", "content": content, "release": release}


def published(shelf: Shelf, branch: str = "labs") -> dict[str, str]:
    git = ["git", "--git-dir", str(shelf.repository)]
    listed = subprocess.run([*git, "ls-tree", "-rz", "--name-only", branch], capture_output=True, check=False)
    names = listed.stdout.decode().split("\0")[:-1]
    return {
        name: subprocess.run([*git, "show", f"{branch}:{name}"], capture_output=True, check=True).stdout.decode()
        for name in names
    }


def objects(shelf: Shelf) -> str:
    """Everything that the repository holds, reachable or not."""
    git = ["git", "--git-dir", str(shelf.repository), "cat-file", "--batch", "--batch-all-objects"]
    return subprocess.run(git, capture_output=True, check=True).stdout.decode(errors="replace")


def test_what_is_not_due_is_in_no_object(shelf: Shelf) -> None:
    files = {"01.ipynb": "{}", "sub/Übung.txt": "one", "02.txt": "the solution"}
    far = 4e9
    put(shelf, "c1", files, {"02*": far})
    assert published(shelf) == {"01.ipynb": "{}", "sub/Übung.txt": "one"}
    assert "the solution" not in objects(shelf)
    assert "02.txt" not in objects(shelf)
    assert shelf.publish(far - 1) == []
    assert shelf.publish(far) == ["labs"]
    assert published(shelf) == files
    assert shelf.publish(far + 1) == []


def test_a_branch_begins_with_the_first_release(shelf: Shelf) -> None:
    put(shelf, "c1", {"a.txt": "a"}, {"*": 4e9}, into="solutions")
    assert published(shelf, "solutions") == {}
    assert shelf.publish(4e9) == ["solutions"]
    assert published(shelf, "solutions") == {"a.txt": "a"}


def test_a_change_is_one_commit_on_top_and_the_old_content_goes(shelf: Shelf) -> None:
    put(shelf, "c1", {"a.txt": "a", "b.txt": "b"}, {})
    put(shelf, "c2", {"a.txt": "A"}, {})
    assert published(shelf) == {"a.txt": "A"}
    assert shelf.contents() == ["c2"]
    assert not (shelf.full / "c1").exists()
    log = subprocess.run(
        ["git", "--git-dir", str(shelf.repository), "log", "--format=%an", "labs"], capture_output=True, check=True
    )
    assert log.stdout == b"course\ncourse\n"
    put(shelf, "c2", {}, {})
    assert published(shelf) == {"a.txt": "A"}


def test_a_date_that_moves_takes_back_and_gives(shelf: Shelf) -> None:
    put(shelf, "c1", {"a.txt": "a", "b.txt": "b"}, {"b*": 4e9})
    put(shelf, "c1", {}, {"b*": 0})
    assert set(published(shelf)) == {"a.txt", "b.txt"}
    put(shelf, "c1", {}, {"a*": 4e9})
    assert set(published(shelf)) == {"b.txt"}


def test_an_entry_that_left_the_course_file_is_no_branch_any_more(shelf: Shelf) -> None:
    put(shelf, "c1", {"a.txt": "a"}, {})
    put(shelf, "c1", {}, {}, into="labs/inside")
    assert published(shelf) == {}
    assert published(shelf, "labs/inside") == {"a.txt": "a"}


def test_what_did_not_arrive_whole_is_refused_and_all_stays(shelf: Shelf) -> None:
    put(shelf, "c1", {"a.txt": "a"}, {})
    with pytest.raises(ValueError, match="c2 did not arrive"):
        shelf.take({"digest": "d2", "entries": [entry("c2", {}, "labs")]})
    assert shelf.manifest()["digest"] == "c1"


def test_it_tells_what_comes_next(shelf: Shelf) -> None:
    put(shelf, "c1", {"a.txt": "a", "b.txt": "b", "c.txt": "c"}, {"b*": 100.0, "c*": 200.0})
    told = shelf.status(now=150)
    assert json.loads(json.dumps(told)) == {
        "digest": "c1",
        "have": ["c1"],
        "entries": [
            {
                "into": "labs",
                "source": "a test",
                "content": "c1",
                "files": 3,
                "released": 2,
                "next": 200,
                "next_files": ["c.txt"],
            }
        ],
        "trouble": "",
    }
    assert shelf.status(now=300)["entries"][0]["next"] is None


def test_it_writes_what_there_is_when_that_is_news(shelf: Shelf) -> None:
    told = lambda: json.loads(shelf.told.read_text())  # noqa: E731
    shelf.tell(now=1)
    assert told() == {"digest": "", "have": [], "entries": [], "trouble": ""}
    put(shelf, "c1", {"a.txt": "a", "b.txt": "b"}, {"b*": 100.0})
    shelf.tell(now=50)
    assert told() == shelf.status(now=50)
    first = shelf.told.stat().st_ino
    shelf.tell(now=51)
    assert shelf.told.stat().st_ino == first
    shelf.tell(now=100, trouble="git: no space")
    (row,) = told()["entries"]
    assert (row["released"], told()["trouble"]) == (2, "git: no space")


def test_its_folder_with_everything_is_for_root_alone(shelf: Shelf) -> None:
    assert shelf.full.stat().st_mode & 0o777 == 0o700
