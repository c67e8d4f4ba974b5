"""`material:` of the course file: what may stand there, and every way to get it wrong."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from occamctl.errors import SpecError
from occamctl.spec.load import load_text

HEAD = "version: 1\ncourse: ml-2026\n"
TWO = "material:\n  - {{built_in: labs, into: labs}}\n  - {{built_in: solutions, into: {}}}\n"
LABS = "material: [{{built_in: labs, into: {}}}]\n"
RELEASE = "material: [{{built_in: labs, into: labs, release: {}}}]\n"
GIT = "material: [{{git: '{}', into: x}}]\n"


def test_without_it_the_labs_come_and_an_empty_list_is_nothing() -> None:
    assert [(one.built_in, one.into) for one in load_text(HEAD).material] == [("labs", "labs")]
    assert load_text(HEAD + "material: []\n").material == []


@pytest.mark.parametrize(
    "url",
    ["https://a.b/c.git", "http://a.b:8080/c", "ssh://git@a.b:22/c", "git@a.b:c/d.git", "file:///srv/x", "git://a/b"],
)
def test_addresses_of_repositories(url: str, tmp_path: Path) -> None:
    text = f"material: [{{git: '{url}', branch: feature/x, into: a/b}}, {{folder: ., into: c}}]\n"
    first, second = load_text(HEAD + text, folder=tmp_path).material
    assert (first.git, first.branch, first.into, first.source) == (url, "feature/x", "a/b", f"{url} (feature/x)")
    assert second.folder == tmp_path


def test_dates() -> None:
    written = ("2026-10-12T09:00", "2026-10-12 09:00:30", "2026-10-12", "2026-10-12T09:00Z", "2026-10-12T09:00+02:00")
    meant = []
    for one in written:
        (entry,) = load_text(HEAD + RELEASE.format(one)).material
        meant.append(entry.release["*"])
    assert meant == [datetime.fromisoformat(one) for one in written]
    (entry,) = load_text(HEAD + RELEASE.format("{'03-*': 2026-10-12, sub: 2026-10-13}")).material
    assert list(entry.release) == ["03-*", "sub"]


@pytest.mark.parametrize(
    ("text", "column", "what", "fix"),
    [
        ("material: [{into: labs}]\n", 12, "material[0]: names no source", "one of git, folder and built_in"),
        ("material: [{git: 'https://a.b/c', built_in: labs, into: x}]\n", 12, "git and built_in contradict", "one of"),
        (
            "material: [{built_in: labs, branch: x, into: x}]\n",
            12,
            "material[0]: branch needs git",
            "leave branch away",
        ),
        ("material: [{built_in: lab, into: x}]\n", 13, "material[0].built_in: 'lab' is not known", "'labs'"),
        ("material: [{built_in: labs}]\n", 12, "material[0].into: is missing", ""),
        ("material: labs\n", 1, "material: must be a list", ""),
        (LABS.format("../x"), 29, "'../x' is not inside of the home", "such as labs"),
        (LABS.format("a/../../x"), 29, "is not inside of the home", "such as labs"),
        (LABS.format("/etc"), 29, "'/etc' is not inside of the home", "such as labs"),
        (LABS.format("~/x"), 29, "'~/x' is not inside of the home", "such as labs"),
        (LABS.format(".ssh"), 29, "'.ssh' cannot be a folder for material", "letters"),
        (LABS.format("a/.git"), 29, "cannot be a folder for material", "letters"),
        (LABS.format("a.lock"), 29, "cannot be a folder for material", "letters"),
        (LABS.format("-x"), 29, "cannot be a folder for material", "letters"),
        ("material: [{folder: gone, into: labs}]\n", 13, "material[0].folder: gone is not a folder here", ""),
        (TWO.format("labs"), 27, "labs comes into the same folder as material[0] (labs, line 4)", "of its own"),
        (TWO.format("labs/"), 27, "comes into the same folder as material[0]", "of its own"),
        (TWO.format("labs/b"), 27, "labs/b and material[0] (labs, line 4) overlap", "of its own"),
        (GIT.format("ext::sh -c x"), 13, "is not the address of a git repository", "https://"),
        (GIT.format("--upload-pack=x"), 13, "is not the address of a git repository", "https://"),
        (GIT.format("https://user:secret@a.b/c"), 13, "a name or password must not stand in it", "git help"),
        (GIT.format("https://token@a.b/c"), 13, "a name or password must not stand in it", "git help"),
        (GIT.format("ssh://git:secret@a.b/c"), 13, "a name or password must not stand in it", "git help"),
        ("material: [{git: 'git@a.b:c', branch: -x, into: x}]\n", 31, "'-x' is not a branch or a tag", ""),
        (RELEASE.format("soon"), 41, "material[0].release: 'soon' is not a date and time", "write 2026-10-12T09:00"),
        (RELEASE.format("2026-02-30"), 41, "'2026-02-30' is not a date and time", "2026-10-12"),
        (RELEASE.format("2026-10-05T25:00"), 41, "is not a date and time", "2026-10-12"),
        (RELEASE.format("20261005"), 41, "is not a date and time", "2026-10-12"),
        (RELEASE.format("{'a*': x}"), 41, "'x' is not a date and time", "2026-10-12"),
        (RELEASE.format("[2026-10-05]"), 41, "a list or mapping is not a date and time", "2026-10-12"),
        (RELEASE.format("{'/': 2026-10-05}"), 41, "'/' is not a pattern of file names", "03-*.ipynb"),
    ],
)
def test_what_is_wrong_has_a_place_and_a_way_out(text: str, column: int, what: str, fix: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_text(HEAD + text, environment={})
    error = caught.value
    assert list(error.others) == []
    assert what in error.what
    assert fix in error.fix
    assert error.where.endswith(f":{column}")
    assert "secret" not in str(error)
