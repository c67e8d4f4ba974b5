"""What an application may bring along, and how it travels."""

from __future__ import annotations

import base64
import io
import random
import tarfile
from typing import Any

import pytest

from occamctl.actions import applications
from occamctl.errors import SpecError
from occamctl.gateway import application, wishes


def told(**more: Any) -> dict[str, Any]:
    files = {"app.py": base64.b64encode(b"print(1)").decode(), "lib.zip": base64.b64encode(b"PK").decode()}
    return {"main": "app.py", "files": files, "arguments": ["a b", "--c"], "py_files": ["lib.zip"], **more}


def test_files_and_words_travel_as_one_archive() -> None:
    made = application.read(told(conf={"spark.sql.x": r"C:\y"}))
    with tarfile.open(fileobj=io.BytesIO(made.packed())) as archive:
        contents = {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
    assert contents == {"app.py": b"print(1)", "lib.zip": b"PK", ".words": b"--py-files\0lib.zip\0app.py\0a b\0--c\0"}
    assert made.settings == {"spark.sql.x": r"C:\\y"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"main": "other.py"}, "'other.py' is not among its files"),
        ({"main": "lib.zip"}, "not a Python program"),
        ({"py_files": ["../x"]}, "not among its files"),
        ({"files": {"../app.py": "UEs="}}, "a file cannot be called"),
        ({"files": {"-app.py": "UEs="}}, "a file cannot be called"),
        ({"files": {".words": "UEs="}}, "a file cannot be called"),
        ({"files": {"app.py": "no base64!"}}, "are not base64"),
        ({"files": {"app.py": 1}}, "are not base64"),
        ({"files": {}}, "files: not an object"),
        ({"files": {f"f{n}.py": "" for n in range(99)}}, "files: not an object"),
        ({"arguments": ["a\0b"]}, "arguments: not a list"),
        ({"arguments": ["a" * 9000]}, "arguments: not a list"),
        ({"arguments": "abc"}, "arguments: not a list"),
        ({"conf": {"spark.master": "local"}}, "belongs to the cluster"),
        ({"conf": {"spark.occam.url": "http://x"}}, "belongs to the cluster"),
        ({"conf": {"spark.authenticate": "false"}}, "belongs to the cluster"),
        ({"conf": {"spark.x": "a\nspark.master local"}}, "is no setting"),
        ({"conf": {"java.home": "x"}}, "is no setting"),
        ({"nonsense": 1}, "unknown key 'nonsense'"),
    ],
)
def test_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as refused:
        application.read(told(**wrong))
    assert says in refused.value.what


def test_too_much_is_refused_with_numbers_and_the_most_fits_a_secret() -> None:
    much = base64.b64encode(bytes(application.MOST_BYTES + 1)).decode()
    with pytest.raises(SpecError, match="450K can be sent"):
        application.read(told(files={"app.py": much}, py_files=[]))
    noise = random.Random(1).randbytes(application.MOST_BYTES // application.MOST_FILES)
    files = {"f" * 96 + f"{n:02}.p": noise for n in range(application.MOST_FILES)}
    packed = application.Application("app.py", files, arguments=("x" * application.MOST_TEXT,)).packed()
    assert len(packed) < 500 << 10
    assert applications.MOST_BYTES == application.MOST_BYTES


def test_a_wish_brings_it_and_no_other_kind_of_driver_does() -> None:
    wish = {"name": "app", "workers": 1, "driver": "application", "application": told()}
    assert wishes.wish(wish).application is not None
    assert wishes.wish(wish | {"driver": "connect"}).application is None
    with pytest.raises(SpecError, match="application: not an object"):
        wishes.wish({"name": "app", "workers": 1, "driver": "application"})
