"""Building, sending and removing images, on a real engine and a second one beside it."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from occamctl import wait
from occamctl.engine import debian, images
from occamctl.engine.client import Engine
from occamctl.engine.context import Context
from occamctl.engine.images import Built
from occamctl.errors import EngineError, OccamError
from occamctl.spec import names
from occamctl.spec.course import Image

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    opened = Engine.local()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def other() -> Iterator[Engine]:
    """A second engine on this machine, with its own images. Its network namespace has no way out; without one of its
    own it would take away the bridge of the first engine."""
    if os.geteuid() or not shutil.which("dockerd"):
        pytest.skip("a second engine needs root and dockerd")
    folder = Path(tempfile.mkdtemp(prefix="occam-other-"))
    address = f"unix://{folder}/socket"
    command = [
        "unshare",
        "--net",
        "dockerd",
        "--data-root",
        folder / "data",
        "--exec-root",
        folder / "run",
        "--pidfile",
        folder / "pid",
    ]
    command += ["--host", address, "--bridge", "none", "--iptables=false"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            yield _wait_for(address)
        finally:
            running.terminate()
            running.wait(30)
            shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str) -> Engine:
    def answers() -> Engine | None:
        try:
            return Engine("other", docker.DockerClient(base_url=address, version="auto"))
        except docker.errors.DockerException:
            return None

    found = wait.until(answers, lambda seen: seen is not None, "second engine", seconds=60)
    assert found is not None
    return found


@pytest.fixture(autouse=True, scope="module")
def no_leftovers(engine: Engine) -> Iterator[None]:
    """What builds that failed leave as their cache is removed; builds of real images are bigger."""
    before = {one.id for one in images.held(engine)}
    yield
    left = [one.id for one in images.held(engine) if not one.tag and one.id not in before and one.size < 300 << 20]
    images.remove(engine, left)


def built(script: str, **files: str) -> Built:
    """A light image: `script` is its RUN line."""
    dockerfile = f"ARG BASE\nFROM ${{BASE}}\nLABEL {names.KIND}=image\nCOPY . /opt/\nRUN {script}\n"
    content = {"Dockerfile": (dockerfile.encode(), False), "mark": (uuid.uuid4().bytes, False)}
    context = Context(content | {name: (text.encode(), False) for name, text in files.items()})
    return Built(f"localhost/occam/test:{context.digest()}", "test image", context)


@pytest.fixture(scope="module")
def light(engine: Engine) -> Iterator[str]:
    """The tag of a small image that is there."""
    wanted = built("echo fine")
    images.ensure_built(engine, wanted, print)
    yield wanted.tag
    engine.api.remove_image(wanted.tag)


def test_a_build_says_its_steps_and_labels_the_image(engine: Engine) -> None:
    said: list[str] = []
    wanted = built("echo fine")
    try:
        images.ensure_built(engine, wanted, said.append)
        labels = engine.api.inspect_image(wanted.tag)["Config"]["Labels"]
        assert (labels[names.KIND], bool(labels[names.VERSION])) == ("image", True)
        assert any("test image: step 5 of " in text and "echo fine" in text for text in said)
        assert wanted.tag in {one.tag for one in images.held(engine)}
        said.clear()
        images.ensure_built(engine, wanted, said.append)
        assert not said, "an image that is there is not built again"
    finally:
        assert images.remove(engine, [wanted.tag]) == []
    assert images.missing(engine, [wanted.tag]) == [wanted.tag]
    assert images.remove(engine, [wanted.tag]) == [], "what is gone already is no error"


def test_a_build_that_fails_says_where_and_leaves_no_tag(engine: Engine) -> None:
    wanted = built("echo looking for it; echo no such package >&2; exit 7")
    with pytest.raises(EngineError) as failed:
        images.ensure_built(engine, wanted, lambda text: None)
    assert failed.value.exit_code == 1
    assert "step 5 of " in failed.value.what
    assert "returned a non-zero code: 7" in failed.value.what
    assert "no such package" in failed.value.what
    assert images.missing(engine, [wanted.tag]) == [wanted.tag]
    left = [one for one in engine.api.containers(all=True) if "looking for it" in one["Command"]]
    assert left == []


def test_packages_of_the_course_are_a_layer_more(engine: Engine, light: str) -> None:
    below = Built(light, "test image", Context())
    more = images._with_more(below, Image(apt=["hello"]))
    try:
        images.ensure_built(engine, more, lambda text: None)
        assert engine.client.containers.run(more.tag, ["hello"], remove=True) == b"Hello, world!\n"
    finally:
        images.remove(engine, [more.tag])


def test_a_package_that_is_not_there_fails_with_its_name(engine: Engine, light: str) -> None:
    wanted = images._with_more(Built(light, "test image", Context()), Image(apt=["no-such-package-at-all"]))
    with pytest.raises(EngineError, match="Unable to locate package no-such-package-at-all"):
        images.ensure_built(engine, wanted, lambda text: None)
    assert images.missing(engine, [wanted.tag]) == [wanted.tag]


def test_a_package_cannot_change_what_the_image_is_built_on(engine: Engine) -> None:
    wanted = images.notebook_image(Image(pip=["numpy<2"]))
    with pytest.raises(EngineError, match="conflict") as failed:
        images.ensure_built(engine, wanted, lambda text: None)
    assert "numpy" in failed.value.what


def test_debian_that_is_there_is_used_as_it_is(engine: Engine) -> None:
    before = {tag: engine.api.inspect_image(tag)["Id"] for tag in images.present(engine) if "debian" in tag}
    base = debian.ensure_base(engine, print)
    assert base in (debian.BASE, debian.OWN)
    assert {tag: engine.api.inspect_image(tag)["Id"] for tag in before} == before


def test_debian_is_pulled_or_made(other: Engine) -> None:
    said: list[str] = []
    base = debian.ensure_base(other, said.append)
    assert images.missing(other, [base]) == []
    assert said[0] == f"pulling {debian.BASE}"
    labels = other.api.inspect_image(base)["Config"]["Labels"] or {}
    assert (labels.get(names.KIND) == "image") == (base == debian.OWN), "only what we made is ours"
    said.clear()
    assert debian.ensure_base(other, said.append) == base
    assert not said


def test_sending_an_image_once(engine: Engine, other: Engine, light: str) -> None:
    said: list[str] = []
    assert images.missing(other, [light]) == [light]
    assert images.deliver(engine, other, [light], said.append) == [light]
    assert other.api.inspect_image(light)["Id"] == engine.api.inspect_image(light)["Id"]
    assert other.api.inspect_image(light)["Config"]["Labels"][names.KIND] == "image"
    assert said[-1].endswith(" MB gone, unpacking")
    said.clear()
    assert images.deliver(engine, other, [light], said.append) == []
    assert not said


def test_layers_that_are_there_are_not_sent_again(engine: Engine, other: Engine, light: str) -> None:
    images.deliver(engine, other, [light], print)
    more = built("head -c 3000000 /dev/urandom > /opt/new")
    said: list[str] = []
    try:
        images.ensure_built(engine, more, print)
        assert images.deliver(engine, other, [more.tag], said.append) == [more.tag]
        assert other.api.inspect_image(more.tag)["RootFS"] == engine.api.inspect_image(more.tag)["RootFS"]
        ran = other.client.containers.create(more.tag, ["true"])
        with tarfile.open(fileobj=io.BytesIO(b"".join(ran.get_archive("/opt/new")[0]))) as archive:
            assert archive.getmembers()[0].size == 3_000_000
    finally:
        images.remove(engine, [more.tag])
    sent = int(re.fullmatch(r"sending \S+ (\d+) MB gone, unpacking", said[-1])[1])  # type: ignore[index]
    whole = engine.api.inspect_image(light)["Size"] >> 20
    assert 2 <= sent < 10 < whole


def test_sending_what_is_not_there(engine: Engine, other: Engine) -> None:
    with pytest.raises(EngineError, match="is not there"):
        images.deliver(engine, other, ["localhost/occam/test:none"], print)


def test_an_image_in_use_stays(engine: Engine, light: str) -> None:
    container = engine.api.create_container(light, ["sleep", "60"], labels={"occam.test": "images"})
    try:
        engine.api.start(container)
        assert images.remove(engine, [light]) == [light]
        assert images.missing(engine, [light]) == []
    finally:
        engine.api.remove_container(container, force=True)


def test_an_image_that_nobody_has_is_an_error_with_a_fix(engine: Engine) -> None:
    own = Built("localhost/occam/nobody:1", "the course's own image")
    with pytest.raises(OccamError) as failed:
        images.ensure_built(engine, own, lambda text: None)
    assert "cannot be pulled" in failed.value.what
    assert failed.value.fix
