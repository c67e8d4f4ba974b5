"""What `occamctl status` tells of the material."""

from __future__ import annotations

from occamctl.actions.material import rows
from occamctl.plan.seen import SeenMaterial
from occamctl.spec.load import load_text

TERM = "term: {start: 2026-10-05, end: 2027-02-12, timezone: Europe/Rome}\n"
COURSE = load_text(f"version: 1\ncourse: ml\n{TERM}")
LABS = {"into": "labs", "source": "built-in labs", "content": "c1", "files": 5, "released": 2}
NEXT = {"next": 1793606400.0, "next_files": ["03-a.ipynb", "03-b.ipynb", "03-c.ipynb"]}


def test_what_comes_next_is_told_in_the_courses_time_zone() -> None:
    (row,) = rows(COURSE, SeenMaterial("d", folders=(LABS | NEXT,)))
    assert (row["folder"], row["from"], row["files"], row["released"]) == ("labs", "built-in labs", 5, 2)
    assert (row["next"], row["then"]) == ("2026-11-02T09:00+01:00", "03-a.ipynb, 03-b.ipynb and 1 more")


def test_when_all_is_out_nothing_comes_next() -> None:
    (row,) = rows(COURSE, SeenMaterial("d", folders=(LABS | {"next": None, "next_files": []},)))
    assert (row["next"], row["then"]) == ("", "")
    assert rows(COURSE, None) == []
