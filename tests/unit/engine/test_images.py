"""Tags, contexts and the engine's account of a build, without an engine."""

from __future__ import annotations

import re
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from occamctl.engine import context, images
from occamctl.engine.build import Failed, follow
from occamctl.engine.context import Context
from occamctl.errors import SpecError, TookTooLong
from occamctl.spec.course import Image

FOREVER = float("inf")


def _context(**more: bytes) -> Context:
    return Context({"Dockerfile": (b"FROM scratch\n", False), "run": (b"#!/bin/sh\n", True)} | {
        path: (content, False) for path, content in more.items()
    })  # fmt: skip


def test_a_digest_is_the_same_every_time() -> None:
    assert _context().digest() == _context().digest()
    assert re.fullmatch(r"[0-9a-f]{12}", _context().digest())


@pytest.mark.parametrize(
    "other",
    [
        _context(more=b""),
        Context({"Dockerfile": (b"FROM scratch \n", False), "run": (b"#!/bin/sh\n", True)}),
        Context({"Dockerfile": (b"FROM scratch\n", False), "run": (b"#!/bin/sh\n", False)}),
        Context({"Dockerfil": (b"FROM scratch\n", False), "run": (b"#!/bin/sh\n", True)}),
        Context({"Dockerfile": (b"FROM scratch\n#!/bin/sh\n", False), "run": (b"", True)}),
    ],
    ids=["a file more", "content", "mode", "name", "the same bytes in other files"],
)
def test_a_digest_covers(other: Context) -> None:
    assert other.digest() != _context().digest()


def test_words_of_a_digest_do_not_run_together() -> None:
    assert _context().digest("ab", "c") != _context().digest("a", "bc")


def test_the_archive_has_no_dates_and_no_owner() -> None:
    with tarfile.open(fileobj=_context().tar()) as archive:
        entries = archive.getmembers()
    assert [(one.name, one.mode, one.mtime, one.uid) for one in entries] == [
        ("Dockerfile", 0o644, 0, 0),
        ("run", 0o755, 0, 0),
    ]


def test_a_folder_without_its_caches(tmp_path: Path) -> None:
    for name in ("pkg/a.py", "pkg/__pycache__/a.pyc", "pkg/sub/b.py", "pkg/tests/test_a.py", "pkg/x.egg-info/PKG-INFO"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    read = context.read([("lib/pkg", tmp_path / "pkg"), ("labs", tmp_path / "missing")])
    assert list(read.files) == ["lib/pkg/", "lib/pkg/a.py", "lib/pkg/sub/b.py", "labs/"]


def test_a_symlink_out_of_a_folder_is_its_content(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("content")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "link").symlink_to(tmp_path / "real")
    assert context.read([("pkg", tmp_path / "pkg")]).files["pkg/link"] == (b"content", False)


def test_tags_are_known_at_once_and_without_an_engine() -> None:
    images.hub_image(), images.notebook_image()
    start = time.perf_counter()
    hub, notebook = images.hub_image(), images.notebook_image()
    assert time.perf_counter() - start < 0.1
    assert re.fullmatch(r"localhost/occam/hub:[0-9a-f]{12}", hub.tag)
    assert re.fullmatch(r"localhost/occam/notebook:[0-9a-f]{12}", notebook.tag)


def test_what_each_image_holds() -> None:
    hub, notebook = images.hub_image().context, images.notebook_image().context
    assert hub is not None
    assert notebook is not None
    assert {
        "Dockerfile",
        "requirements.lock",
        "proxy/package-lock.json",
        "bin/occam-hub",
        "certificates/",
    } <= hub.files.keys()
    assert "lib/occamctl/spec/names.py" in hub.files
    assert {"Dockerfile", "requirements.lock", "bin/occam-notebook", "spark/build.sh"} <= notebook.files.keys()
    assert all(
        runs for path, (_, runs) in (hub.files | notebook.files).items() if path.startswith("bin/") and path != "bin/"
    )


def test_the_operators_side_is_not_in_the_hub() -> None:
    hub = images.hub_image().context
    assert hub is not None
    assert not [
        path for path in hub.files if re.match(r"lib/occamctl/(cli|hosts|actions|sandbox|render|templates)", path)
    ]


def test_the_courses_own_packages_are_a_layer_on_the_built_in_image() -> None:
    built_in = images.notebook_image(Image())
    more = images.notebook_image(Image(pip=["xgboost"], apt=["graphviz"]))
    assert built_in == images.notebook_image()
    assert more.parent == built_in
    assert more.tag not in (built_in.tag, images.notebook_image(Image(pip=["xgboost"])).tag)
    assert more.context is not None
    assert more.context.files["apt.txt"] == (b"graphviz\n", False)
    assert more.context.files["requirements.txt"] == (b"xgboost\n", False)


def test_the_tag_of_the_packages_changes_with_the_image_below(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = images.notebook_image(Image(pip=["xgboost"]))
    (tmp_path / "site.crt").write_text("another certificate")
    monkeypatch.setattr(images, "_CERTIFICATES", tmp_path)
    after = images.notebook_image(Image(pip=["xgboost"]))
    assert before.tag != after.tag
    assert before.parent
    assert after.parent
    assert before.parent.tag != after.parent.tag


def test_the_gpu_image_is_a_layer_on_the_courses_own() -> None:
    assert [one.what for one in images.of_course(Image())] == ["hub image", "notebook image"]
    plain, packages = Image(gpu=True), Image(gpu=True, pip=["xgboost"])
    assert images.of_course(plain)[2] == images.gpu_image(plain)
    assert images.gpu_image(plain).parent == images.notebook_image()
    assert images.gpu_image(packages).parent == images.notebook_image(packages)
    assert images.gpu_image(packages).tag != images.gpu_image(plain).tag
    own = Image.model_validate({"from": "course:1", "gpu": True})
    assert images.gpu_image(own).parent == images.notebook_image(own)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("registry.example.org:5000/course:3", "registry.example.org:5000/course:3"),
        ("registry.example.org:5000/course", "registry.example.org:5000/course:latest"),
        ("course", "course:latest"),
    ],
)
def test_an_image_of_their_own_is_used_as_it_is(name: str, tag: str) -> None:
    own = images.notebook_image(Image.model_validate({"from": name}))
    assert (own.tag, own.context) == (tag, None)


def test_an_image_of_their_own_needs_a_tag_that_can_travel() -> None:
    with pytest.raises(SpecError, match="digest") as refused:
        images.notebook_image(Image.model_validate({"from": "course@sha256:" + "0" * 64}))
    assert refused.value.exit_code == 2


def test_locks_are_exact_and_name_no_host() -> None:
    for name in ("hub", "notebook"):
        lock = (images._TEMPLATES / name / "requirements.lock").read_text()
        lines = [line for line in lock.splitlines() if line and not line.startswith("#")]
        assert len(lines) > 30
        assert not [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[^\s=]+", line)]
    below = (images._TEMPLATES / "notebook" / "requirements.lock").read_text()
    gpu = (images._TEMPLATES / "notebook" / "requirements-gpu.lock").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"(nvidia-[a-z0-9-]+|tensorflow)==[^\s=]+", line) for line in gpu)
    assert gpu[-1].replace("tensorflow", "tensorflow-cpu") in below.splitlines()
    assert "://" not in "".join(
        line
        for line in (images._TEMPLATES / "hub" / "package-lock.json").read_text().splitlines()
        if '"resolved"' in line
    )


# What Docker 20.10.24 answered to a Dockerfile whose second RUN fails.
RECORDED: list[dict[str, Any]] = [
    {"stream": "Step 1/3 : FROM debian:bookworm-slim"},
    {"stream": "\n"},
    {"stream": " ---> 6f7388c7f8e1\n"},
    {"stream": "Step 2/3 : RUN echo fine"},
    {"stream": "\n"},
    {"stream": " ---> Running in 1c64c4c8d45c\n"},
    {"stream": "fine\n"},
    {"stream": "Removing intermediate container 1c64c4c8d45c\n"},
    {"stream": " ---> 2a1f9b9d1bd4\n"},
    {"stream": "Step 3/3 : RUN echo looking; echo 'no such package' >&2; exit 7"},
    {"stream": "\n"},
    {"stream": " ---> Running in 0e4d0c5d1bf0\n"},
    {"stream": "looking\n"},
    {"stream": "\u001b[91mno such package\n\u001b[0m"},
    {"stream": "Removing intermediate container 0e4d0c5d1bf0\n"},
    {
        "errorDetail": {"code": 7, "message": "The command '/bin/sh -c echo looking; …' returned a non-zero code: 7"},
        "error": "The command '/bin/sh -c echo looking; …' returned a non-zero code: 7",
    },
]


def test_a_failing_build_names_its_step_and_its_last_lines() -> None:
    said: list[str] = []
    with pytest.raises(Failed) as failed:
        follow(RECORDED, said.append, FOREVER)
    assert failed.value.step == "step 3 of 3 (RUN echo looking; echo 'no such package' >&2; exit 7)"
    assert failed.value.lines == ["looking", "no such package"]
    assert said == [
        "step 2 of 3 (RUN echo fine)",
        "step 3 of 3 (RUN echo looking; echo 'no such package' >&2; exit 7)",
    ]


def test_a_build_has_a_deadline() -> None:
    with pytest.raises(TookTooLong, match="step 1 of 3"):
        follow(RECORDED, lambda text: None, time.monotonic() - 1)
