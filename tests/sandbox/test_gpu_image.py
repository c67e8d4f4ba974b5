"""The image with CUDA, on the one of two pretend hosts that lends GPUs: `make soak`, because it has 9 GB."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from occamctl import sandbox
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.plan.lending import visible
from occamctl.spec.course import Image

from .conftest import say
from .test_gpu_people import Stage, brought_up

pytestmark = [pytest.mark.sandbox, pytest.mark.soak]

COURSE = "gpuimage"
WITHOUT, WITH = images.notebook_image().tag, images.gpu_image(Image(gpu=True)).tag
HERE = """
import subprocess, tensorflow as tf
print(subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True).stdout)
print("CUDA", tf.test.is_built_with_cuda(), tf.sysconfig.get_build_info().get("cuda_version"), tf.__version__)
"""
WORKERS = """
import occam
spark = occam.spark(workers=1, gpu=1)
def seen(_):
    import os, tensorflow as tf
    from pyspark import TaskContext
    given = TaskContext.get().resources()["gpu"].addresses
    return given == [os.environ["CUDA_VISIBLE_DEVICES"]], tf.test.is_built_with_cuda(), tf.__version__
print(spark.sparkContext.parallelize(range(2), 2).map(seen).collect())
spark.cluster.stop()
"""


def on_host(number: int, *command: str) -> str:
    code, out, err = Engine.local().exec(f"{COURSE}-host{number}", list(command))
    assert code == 0, err.decode()
    return out.decode()


def notebook_image() -> str:
    """Of ada's, who has the only notebook."""
    listed = ("docker", "service", "ls", "--filter", "label=occam.kind=notebook", "--format", "{{.Image}}")
    return on_host(1, *listed).strip()


@pytest.fixture(scope="module")
def on(built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    sandbox.down(COURSE)
    hosts = sandbox.up(2, name=COURSE, tags=built, say=say, options={2: {"OCCAM_GPUS": "2"}})
    file = tmp_path_factory.mktemp(COURSE) / "occam.yaml"
    file.write_text(
        f"version: 1\ncourse: {COURSE}\ninstructors: [prof]\nstudents: [ada]\n{hosts.as_yaml()}"
        "notebook: {cpu_limit: 1, mem_limit: 3G}\nspark: {worker: {cpus: 1, memory: 2G}}\n"
        "quotas: {student: {workers: 2, gpus: 2}}\nimage: {gpu: true}\n"
    )
    yield brought_up(file, COURSE)
    sandbox.down(COURSE)


def test_only_the_host_with_gpus_gets_it(on: Stage) -> None:
    tags = [
        on_host(number, "docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split() for number in (1, 2)
    ]
    assert [(WITHOUT in there, WITH in there) for there in tags] == [(True, False), (True, True)]
    assert on.occamctl("course", "up", "-y").startswith("Nothing to do")


def test_notebook_and_workers_with_gpus_have_it_and_others_do_not(on: Stage) -> None:
    ada = on.student("ada")
    ada.start_server(gpu="1")
    assert notebook_image().startswith(WITH)
    with ada.kernel() as kernel:
        here = kernel.run(HERE, seconds=300)
        assert not here.error, here.error
        assert len(visible(here.text)) == 1, here.text
        assert "CUDA True 12." in here.text, here.text
        there = kernel.run(WORKERS, seconds=600)
        assert not there.error, there.error
        version = here.text.split()[-1]
        assert there.text.count(f"(True, True, '{version}')") == 2, there.text
    on.occamctl("notebook", "stop", "ada")
    ada.start_server()
    assert notebook_image().startswith(WITHOUT)
    on.occamctl("notebook", "stop", "ada")


def test_the_deep_check_runs_it(on: Stage) -> None:
    """Simulated GPUs compute nothing; its CPUs do, and nobody is told to ask for the image that is there."""
    ran = on.ran("gpu", "check", "--deep", "-o", "json")
    assert ran.returncode == 3, ran.stderr
    speeds = [one for row in json.loads(ran.stdout) for one in row["speed"]]
    assert len(speeds) == 2
    for one in speeds:
        assert one["cpu"] > 0
        assert one["gpu"] is None
        assert one["trouble"].startswith("TensorFlow 2."), one
        assert "image:" not in one["trouble"]
