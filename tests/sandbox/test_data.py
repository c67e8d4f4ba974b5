"""The journey's course gets data: every host has the same files, students read them, what a host loses is mended."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from occamctl.actions.session import open_course
from occamctl.api import Course

from .conftest import IN_A_BROWSER, Run

pytestmark = pytest.mark.sandbox

ROWS = 3000
FOLDER = "/var/lib/docker/volumes/journey-data/_data"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the form of UCI's HIGGS.csv.gz."""
    text = io.BytesIO()
    np.savetxt(text, np.random.default_rng(1).random((ROWS, 29)).round(3), fmt="%.18e", delimiter=",")
    file = tmp_path_factory.mktemp("uci") / "HIGGS.csv.gz"
    file.write_bytes(gzip.compress(text.getvalue(), 1))
    return file


def test_every_host_has_the_data_and_what_one_loses_is_mended(
    course: Path, occamctl: Run, passwords: dict[str, str], source: Path
) -> None:
    with open_course(course) as session:
        hosts = session.hosts
        root = lambda host, script: session.machines[host].run(["sh", "-c", script], sudo=True)  # noqa: E731
        assert f"/data/higgs: {ROWS:,} rows" in occamctl("data", "add", "higgs", "--from", str(source))
        (row,) = json.loads(occamctl("data", "list", "-o", "json"))
        assert (row["state"], row["rows"], sorted(row["hosts"])) == ("whole", ROWS, sorted(hosts))
        assert "Nothing to do" in occamctl("data", "add", "higgs", "--from", str(source))

        with Course(course) as there:
            there.notebooks.start(IN_A_BROWSER)
            student = lambda script: there.notebooks.run(IN_A_BROWSER, ["python", "-c", script])  # noqa: E731
            count = student("import pandas; print(len(pandas.read_parquet('/data/higgs')))")
            assert (count.code, count.out.strip()) == (0, str(ROWS).encode()), count
            assert b"Read-only file system" in student("open('/data/higgs/mine', 'w')").err

        root(hosts[1], f"printf x | dd of={FOLDER}/higgs/part-00000.parquet bs=1 seek=500 conv=notrunc")
        said = occamctl("data", "verify", code=1)
        assert f"{hosts[1]}: higgs: 1 file differs: part-00000.parquet" in re.sub(r"\s+", " ", said)
        assert "occamctl data add higgs" in said
        occamctl("data", "add", "higgs")
        occamctl("data", "verify")

        declared = course.with_name("with-data.yaml")
        declared.write_text(course.read_text() + f"data: [{{name: higgs, source: {source}}}]\n")
        assert "Nothing to do" in occamctl("course", "plan", file=declared)
        root(hosts[2], f"rm -r {FOLDER}/higgs")
        assert f"data set higgs as {hosts[0]} has it on {hosts[2]}" in occamctl("course", "plan", file=declared)
        occamctl("course", "up", "-y", file=declared)
        assert {one["state"] for one in json.loads(occamctl("data", "verify", "-o", "json"))} == {"whole"}

        assert "is gone from" in occamctl("data", "remove", "higgs", "-y")
        assert json.loads(occamctl("data", "list", "-o", "json")) == []
        assert all(root(host, f"ls {FOLDER}").stdout == "" for host in hosts)
