"""The course's data on one real engine: sources of every kind, downloads that break, and what a person is told."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import signal
import subprocess
import sys
import tarfile
import threading
import uuid
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from occamctl.api import Course
from occamctl.engine import images, leftovers, loader
from occamctl.engine.client import Engine
from occamctl.errors import OccamError, SpecError

from .spark_stage import built

pytestmark = pytest.mark.engine

# The UCI set's form: no names, 29 numbers a line. 60,000 rows of one line are enough for several blocks.
LINE = ",".join(["1.000000000000000000e+00", *("8.692932128906250000e-01",) * 28])
ROWS = 60_000
TEXT = f"{LINE}\n".encode() * ROWS


class Files(BaseHTTPRequestHandler):
    """A web server that goes on in the middle, and hangs up after `most` bytes of each answer."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes] = {}  # noqa: RUF012
    most, asked = 1 << 30, list[int]()

    def do_GET(self) -> None:
        content = self.files.get(self.path.partition("?")[0])
        if content is None:
            self.send_error(404)
            return
        begin = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(begin[1]) if begin else 0
        self.asked.append(first)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{len(content)}"')
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : first + self.most])
        self.close_connection = True

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Files.files, Files.most, Files.asked = {"/HIGGS.csv.gz": gzip.compress(TEXT, 1)}, 1 << 30, []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with built() as (engine, _):
        yield engine


@pytest.fixture
def file(engine: Engine, tmp_path: Path) -> Iterator[Path]:
    """A course on this machine that is not up: its data needs no more than the image."""
    name = f"data{uuid.uuid4().hex[:6]}"
    (tmp_path / "occam.yaml").write_text(f"version: 1\ncourse: {name}\nstudents: [ada]\n")
    yield tmp_path / "occam.yaml"
    leftovers.remove_containers(engine, name, seconds=10)
    leftovers.remove_volumes(engine, name)


@pytest.fixture
def course(file: Path) -> Iterator[Course]:
    with Course(file) as made:
        yield made


def inside(engine: Engine, file: Path, script: str) -> Any:
    """What a Python `script` leaves in `said`, in a container that has the data as a notebook has it."""
    return json.loads(
        engine.client.containers.run(
            images.notebook_image().tag,
            entrypoint=["/opt/occam/venv/bin/python", "-c", f"import json, os\n{script}\nprint(json.dumps(said))"],
            volumes={f"{file.read_text().split()[3]}-data": {"bind": "/data", "mode": "ro"}},
            network_mode="none",
            remove=True,
        )
    )


def test_the_higgs_set_from_the_web_and_from_a_file(engine: Engine, file: Path, course: Course, web: str) -> None:
    Files.most = len(Files.files["/HIGGS.csv.gz"]) // 3
    made = course.data.add("higgs", f"{web}/HIGGS.csv.gz?key=secret")
    assert Files.asked[0] == 0
    assert all(first > 0 for first in Files.asked[1:]), "it goes on where the server hung up"
    assert made.manifest["rows"] == ROWS
    assert "secret" not in str(made.manifest)
    read = """
import pyarrow.parquet as pq
there = pq.read_table("/data/higgs")
groups = pq.read_metadata("/data/higgs/part-00000.parquet").num_row_groups
said = [there.num_rows, there.column_names[:2], str(there.schema.field(1).type), sorted(os.listdir("/data")), groups]
"""
    assert inside(engine, file, read) == [ROWS, ["label", "lepton_pT"], "float", [".incoming", "higgs"], 3]

    local = file.with_name("HIGGS.csv.gz")
    local.write_bytes(Files.files["/HIGGS.csv.gz"])
    assert course.data.add("higgs", local, sha256=made.manifest["sha256"]).fetched is False, "it is the same file"
    assert course.data.list()[0]["hosts"] == ["localhost"]
    assert [row["state"] for row in course.data.verify()] == ["whole"]


def add_higgs(file: Path, source: str) -> list[str]:
    return [sys.executable, "-m", "occamctl", "data", "add", "higgs", "--from", source, "-c", str(file)]


def end_when(command: list[str], said: str, how: signal.Signals) -> None:
    """Run it, and end it when it says this."""
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert running.stderr
    assert any(said in line for line in running.stderr)
    running.send_signal(how)
    running.communicate(timeout=60)
    assert running.returncode in (-how, 130)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_ends_early_is_finished_by_the_next(
    engine: Engine, file: Path, web: str, how: signal.Signals
) -> None:
    command = add_higgs(file, f"{web}/HIGGS.csv.gz")
    size = len(Files.files["/HIGGS.csv.gz"])
    Files.most = size // 50
    end_when(command, "trying again", how)
    assert inside(engine, file, "said = os.listdir('/data')") == [".incoming"]
    Files.most, Files.asked = size, []
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert Files.asked[0] > 0
    assert inside(engine, file, "said = os.listdir('/data/.incoming')") == []
    with Course(file) as course:
        assert [row["state"] for row in course.data.verify("higgs")] == ["whole"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_one_that_ends_while_files_are_written_is_too(engine: Engine, file: Path, how: signal.Signals) -> None:
    local = file.with_name("HIGGS.csv.gz")
    local.write_bytes(gzip.compress(TEXT * 10, 1))
    command = add_higgs(file, str(local))
    end_when(command, "writing Parquet", how)
    loader.clear(engine, file.read_text().split()[3], loader.LOADING)  # as when the host ends too
    assert inside(engine, file, "said = os.listdir('/data')") == [".incoming"], "half a set is nobody's data"
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert inside(engine, file, "said = os.listdir('/data/.incoming')") == []
    with Course(file) as course:
        assert [row["state"] for row in course.data.verify("higgs")] == ["whole"]
        assert course.data.list()[0]["rows"] == 10 * ROWS


def test_other_sources(engine: Engine, file: Path, course: Course, web: str) -> None:
    folder = file.with_name("pictures")
    (folder / "of" / "cats").mkdir(parents=True)
    (folder / "of" / "cats" / "1.txt").write_text("cat")
    table = file.with_name("trips.csv")
    table.write_text("who,far\n" + "anna,1.5\n" * 1000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("HIGGS.csv.gz", gzip.compress(TEXT, 1))
    Files.files["/280/higgs.zip"] = packed.getvalue()
    tar = file.with_name("songs.tar.gz")
    with tarfile.open(tar, "w:gz") as archive_:
        archive_.add(folder, "songs")

    assert course.data.add("trips", table).manifest["rows"] == 1000
    course.data.add("pictures", folder)
    assert course.data.add("pictures", folder).fetched is False
    course.data.add("songs", tar)
    assert course.data.add("higgs", f"{web}/280/higgs.zip").manifest["rows"] == ROWS
    look = """
import pyarrow.parquet as pq
far = pq.read_table("/data/trips").schema.field("far").type
said = [open("/data/pictures/of/cats/1.txt").read(), open("/data/songs/songs/of/cats/1.txt").read(), str(far)]
"""
    assert inside(engine, file, look) == ["cat", "cat", "double"]
    assert [row["name"] for row in course.data.list()] == ["higgs", "pictures", "songs", "trips"]
    assert course.data.remove("songs") == ["localhost"]
    with pytest.raises(SpecError, match="no host has data called 'songs'") as unknown:
        course.data.remove("songs")
    assert "higgs, pictures, trips" in unknown.value.fix


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_a_zip_is_its_files_and_what_only_begins_like_one_stays(engine: Engine, file: Path, course: Course) -> None:
    table = b"who,far\nanna,1.5\n"
    sources = {
        "digits": ("mnist.npz", zipped(**{"x.npy": b"1", "y.npy": b"2"})),
        "network": ("model.keras", zipped(**{"config.json": b"{}"})),
        "trips": ("trips.zip", zipped(**{"2013/trips.csv": table, "__MACOSX/2013/._trips.csv": b"x"})),
        "packed": ("packed.zip", zipped(**{"trips.csv.gz": gzip.compress(table)})),
        "both": ("both.zip", zipped(**{"a/trips.csv": table, "b/read.me": b"hello"})),
        "drawing": ("drawing.svg", b'<?xml version="1.0"?><svg/>'),
    }
    for name, (called, content) in sources.items():
        file.with_name(called).write_bytes(content)
        course.data.add(name, file.with_name(called))
    look = """
import pathlib, pyarrow.parquet as pq
said = {one: sorted(str(file.relative_to(f"/data/{one}")) for file in pathlib.Path("/data", one).rglob("[!_]*")
                    if file.is_file()) for one in os.listdir("/data") if one[0] != "."}
said["rows"] = [pq.read_table(f"/data/{one}").to_pylist() for one in ("trips", "packed")]
"""
    assert inside(engine, file, look) == {
        "digits": ["mnist.npz"],
        "network": ["model.keras"],
        "trips": ["part-00000.parquet"],
        "packed": ["part-00000.parquet"],
        "both": ["a/trips.csv", "b/read.me"],
        "drawing": ["drawing.svg"],
        "rows": [[{"who": "anna", "far": 1.5}]] * 2,
    }
    (bad := file.with_name("bad.zip")).write_bytes(zipped(**{"../../x": b"", "y": b""}))
    with pytest.raises(SpecError, match="no file inside"):
        course.data.add("bad", bad)


def test_a_column_is_what_all_its_values_are(engine: Engine, file: Path, course: Course) -> None:
    """pyarrow takes the types of the first block, of 8 MB, for those of all."""
    line, last = f"1,,2013-01-01,7,{'x' * 90}\n", '2.5,7.25,2013-01-01 10:00:00,"n/a, or\nnothing",y\n'
    table = file.with_name("odd.csv")
    table.write_text("count,late,day,code,note\n" + line * 80_000 + last)
    assert course.data.add("odd", table).manifest["rows"] == 80_001
    look = """
import pyarrow.parquet as pq
there = pq.read_table("/data/odd")
last = there.slice(80_000).to_pylist()[0]
said = [str(field.type) for field in there.schema][:4], [str(one) for one in last.values()]
"""
    assert inside(engine, file, look) == [
        ["double", "double", "timestamp[ms]", "string"],
        ["2.5", "7.25", "2013-01-01 10:00:00", "n/a, or\nnothing", "y"],
    ]
    table.write_bytes(b"who,far\n" + b"anna,1\n" * 1_300_000 + b"J\xfcrg,1\n")
    with pytest.raises(SpecError, match=r"column who: .* invalid UTF8") as told:
        course.data.add("odd", table)
    assert "UTF-8" in told.value.fix


def test_the_higgs_set_as_parquet_has_the_form_that_it_has_as_csv(engine: Engine, file: Path, course: Course) -> None:
    local, made = file.with_name("HIGGS.csv.gz"), file.with_name("higgs.parquet")
    local.write_bytes(gzip.compress(TEXT, 1))
    course.data.add("higgs", local)
    as_doubles = """
import base64, io, pyarrow as pa, pyarrow.parquet as pq
there = pq.read_table("/data/higgs")
out = io.BytesIO()
pq.write_table(there.cast(pa.schema([(name, pa.float64()) for name in there.column_names])), out)
said = base64.b64encode(out.getvalue()).decode()
"""
    made.write_bytes(base64.b64decode(inside(engine, file, as_doubles)))
    course.data.remove("higgs")
    assert course.data.add("higgs", made).manifest["rows"] == ROWS
    look = """
import pyarrow.parquet as pq
there = pq.ParquetFile("/data/higgs/part-00000.parquet")
said = [there.num_row_groups, str(there.schema_arrow.field(28).type)]
"""
    assert inside(engine, file, look) == [3, "float"]


def test_what_is_wrong_is_told_and_nothing_is_left(engine: Engine, file: Path, course: Course, web: str) -> None:
    good = Files.files["/HIGGS.csv.gz"]
    Files.files |= {
        "/page.csv.gz": b"<!DOCTYPE html><html>sign in</html>",
        "/short.csv.gz": good[: len(good) // 2],
        "/narrow.csv.gz": gzip.compress(b"1.0,2.0\n" * 10),
        "/words.csv.gz": gzip.compress(TEXT + LINE.replace("8.69", "x.69").encode() + b"\n"),
        "/empty.csv": b"",
    }
    for source, what, code in (
        ("nowhere.csv.gz", "it answers 404", 1), ("page.csv.gz", "is a web page", 2), ("short.csv.gz", "short.csv", 2),
        ("narrow.csv.gz", "has 2 columns, the HIGGS set has 29", 2), ("words.csv.gz", "invalid value", 2),
        ("empty.csv", "columns", 2),
    ):  # fmt: skip
        with pytest.raises(OccamError) as failed:
            course.data.add("higgs", f"{web}/{source}")
        assert what in failed.value.what, (source, failed.value.what)
        assert failed.value.exit_code == code, source
        assert failed.value.fix, source
    with pytest.raises(OccamError, match="sha256 is"):
        course.data.add("higgs", f"{web}/HIGGS.csv.gz", sha256="0" * 64)
    for arguments, what in (
        (("higgs", "/no/such/file"), "there is no such file"),
        (("higgs",), "does not say where it comes from"),
        (("Big Data", "/etc/hostname"), "cannot be a data set's name"),
        (("higgs", "ftp://example.org/x"), "neither a path nor an address"),
    ):
        with pytest.raises(SpecError, match=what):
            course.data.add(*arguments)
    assert inside(engine, file, "said = os.listdir('/data')") == [".incoming"]
    assert course.data.list() == []
