"""From the size of a worker to Spark's configuration."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from occamctl.spark import settings
from occamctl.spark.settings import Driver
from occamctl.spec.units import size

BIN = Path(__file__).parents[3] / "course" / "spark" / "bin"
EXECUTOR = BIN / "occam-executor"
SECRET = "0123456789abcdef-_XYZ"
URL = "http://tasks.ml-gateway:8080/services/gateway/api"


def driver(kind: str = "notebook", **more: object) -> Driver:
    words = {"owner": "anna", "cluster": "lab", "app_id": "app-1", "memory": size("4G"), "host": "10.0.1.5"} | more
    return Driver(kind=kind, url=URL, **words)  # type: ignore[arg-type]


def conf(
    kind: str = "notebook",
    *,
    workers: int = 2,
    cores: int = 1,
    memory: str = "2G",
    adaptive: tuple[int, int] | None = None,
    gpus: int = 0,
    **more: object,
) -> dict[str, str]:
    sizes = {"workers": workers, "cores": cores, "memory": size(memory)}
    return settings.driver_conf(driver(kind, **more), **sizes, adaptive=adaptive, gpus=gpus)


def function(name: str) -> str:
    """The text of a function of the executors' script."""
    found = re.search(rf"^{name}\(\) \{{(?: [^\n]* \}}$|.*?^\}})", EXECUTOR.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


def script_heap(memory: int, heap: int = 0) -> str:
    told = f"OCCAM_MEMORY={memory}\n" + (f"OCCAM_HEAP={heap}\n" if heap else "")
    script = f"{told}{function('heap')}\nheap"
    return subprocess.run(
        ["bash", "-uc", script], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


@pytest.mark.parametrize(
    ("memory", "heap"), [("768M", 480), ("1G", 512), ("2G", 1024), ("3G", 1536), ("900M", 480), ("16G", 8192)]
)
def test_half_of_a_worker_is_heap_but_never_less_than_spark_needs(memory: str, heap: int) -> None:
    assert settings.heap(size(memory)) == heap


@pytest.mark.parametrize("memory", ["768M", "1G", "1500M", "2G", "7G"])
def test_the_executors_script_does_the_same_sum(memory: str) -> None:
    assert script_heap(size(memory)) == f"{settings.heap(size(memory))}m"


def test_a_profiles_own_heap_goes_before_the_half() -> None:
    assert script_heap(size("4G"), size("3G")) == "3072m"
    assert script_heap(size("4G"), size("100M")) == "480m"


@pytest.mark.parametrize(("memory", "heap"), [("512M", 512), ("4G", 1024), ("64G", 8192)])
def test_a_driver_takes_a_quarter_of_its_notebook(memory: str, heap: int) -> None:
    assert settings.driver_heap(size(memory)) == heap


def test_heap_and_overhead_are_the_whole_worker() -> None:
    told = conf(memory="2G")
    assert (told["spark.executor.memory"], told["spark.executor.memoryOverhead"]) == ("1024m", "1024m")


def test_the_driver_finds_its_gateway() -> None:
    told = conf(owner="anna.rossi@unito.it")
    assert told["spark.master"] == "spark+occam://tasks.ml-gateway:8080"
    assert told["spark.occam.url"] == URL
    assert told["spark.occam.cluster"] == "users/anna.rossi%40unito.it/clusters/lab"
    assert told["spark.occam.app.id"] == "app-1"


@pytest.mark.parametrize("owner", ["a+b", "Anna_R", "x@y.z", "plain"])
def test_a_cluster_path_has_four_pieces_whatever_the_name(owner: str) -> None:
    assert len(settings.cluster_path(owner, "lab").split("/")) == 4


def test_what_goes_over_the_wire_is_authenticated_and_encrypted_on_both_sides() -> None:
    for key, value in {
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    }.items():
        assert conf()[key] == value
        assert f"-D{key}={value}\n" in settings.executor_args(SECRET)


def test_no_configuration_holds_the_secret_but_its_file_does() -> None:
    assert not any("secret" in key for key in conf())
    assert f"spark.authenticate.secret {SECRET}\n" in settings.conf_file(conf(), SECRET)
    assert f"-Dspark.authenticate.secret={SECRET}\n" in settings.executor_args(SECRET)


@pytest.mark.parametrize("secret", ["", "short", "0123456789abcdef\n-Dspark.evil=1", "0123456789abcdef 0123"])
def test_a_secret_that_could_be_more_than_one_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        settings.executor_args(secret)
    with pytest.raises(ValueError, match="secret"):
        settings.conf_file({}, secret)


def test_a_notebook_shows_the_wait_itself_and_a_connect_server_waits() -> None:
    assert conf("notebook")["spark.scheduler.minRegisteredResourcesRatio"] == "0"
    assert conf("connect")["spark.scheduler.minRegisteredResourcesRatio"] == "1"


def test_a_notebooks_driver_listens_on_its_own_network_and_releases_its_cluster() -> None:
    told = conf("notebook", port=20001)
    assert told["spark.driver.host"] == told["spark.driver.bindAddress"] == "10.0.1.5"
    assert told["spark.driver.port"] == "20001"
    assert "spark.occam.release" not in told


def test_a_connect_server_that_restarts_keeps_its_cluster() -> None:
    told = conf("connect", host="", token_file="/run/secrets/driver.token")
    assert told["spark.occam.release"] == "false"
    assert told["spark.occam.token.file"] == "/run/secrets/driver.token"
    assert "spark.driver.host" not in told


def test_a_small_cluster_does_not_shuffle_into_two_hundred_pieces() -> None:
    assert conf(workers=1)["spark.sql.shuffle.partitions"] == "16"
    assert conf(workers=8, cores=2)["spark.sql.shuffle.partitions"] == "64"
    assert conf(workers=1, adaptive=(1, 8))["spark.sql.shuffle.partitions"] == "32", "it may grow"


def test_a_cluster_is_fixed_unless_it_is_adaptive() -> None:
    told = conf(workers=3)
    assert told["spark.dynamicAllocation.enabled"] == "false"
    assert told["spark.executor.instances"] == "3"
    assert conf(workers=0)["spark.executor.instances"] == "1", "spark-submit refuses to start with 0"


@pytest.mark.parametrize(("workers", "bounds", "first"), [(2, (1, 4), "2"), (9, (1, 4), "4"), (0, (2, 4), "2")])
def test_an_adaptive_cluster_stays_within_its_bounds(workers: int, bounds: tuple[int, int], first: str) -> None:
    told = conf(workers=workers, adaptive=bounds)
    assert told["spark.dynamicAllocation.enabled"] == "true"
    assert told["spark.dynamicAllocation.initialExecutors"] == first
    assert told["spark.dynamicAllocation.minExecutors"] == str(bounds[0])
    assert told["spark.dynamicAllocation.maxExecutors"] == str(bounds[1])
    assert "spark.executor.instances" not in told, "Spark would take it for another lower bound"


@pytest.mark.parametrize("bounds", [(-1, 2), (3, 2), (0, 0)])
def test_bounds_that_make_no_sense_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="adaptive"):
        conf(adaptive=bounds)


def test_what_an_idle_executor_holds_moves_to_the_others() -> None:
    """Spark warns of shuffle tracking beside it, which would keep idle executors for as long as a table is in reach."""
    told = conf(adaptive=(1, 4))
    assert told["spark.dynamicAllocation.shuffleTracking.enabled"] == "false"
    assert told["spark.storage.decommission.shuffleBlocks.enabled"] == "true"
    assert told["spark.storage.decommission.rddBlocks.enabled"] == "true"
    assert told["spark.storage.decommission.replicationReattemptInterval"] == "2s"


@pytest.mark.parametrize(
    ("environment", "wanted", "said"),
    [
        (["DOCKER_RESOURCE_OCCAM_GPU_GPU_B=GPU-b", "DOCKER_RESOURCE_OCCAM_GPU_GPU_A=GPU-a"], 2, ["GPU-a", "GPU-b"]),
        (["DOCKER_RESOURCE_OCCAM_GPU_MIG_A=MIG-a", "DOCKER_RESOURCE_FPGA=x"], 1, ["MIG-a"]),
        (["DOCKER_RESOURCE_OCCAM_GPU_GPU_A=GPU-a"], 2, None),
        (["HOME=/"], 1, None),
    ],
)
def test_what_the_swarm_assigned_is_told_in_sparks_words(
    environment: list[str], wanted: int, said: list[str] | None, tmp_path: Path
) -> None:
    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        path = f"PATH={os.environ['PATH']}"
        told = ["env", "-i", path, f"OCCAM_GPUS={wanted}", *environment, *words]
        return subprocess.run(told, capture_output=True, text=True, timeout=10, check=False)

    script = f"{function('say')}\n{function('gpus')}\ngpus {tmp_path}/file && echo $CUDA_VISIBLE_DEVICES"
    done = ask("bash", "-uc", script)
    if said is None:
        assert done.returncode
        assert "the engine gave" in done.stderr
        return
    (resource,) = json.loads((tmp_path / "file").read_text())
    assert resource == {"id": {"componentName": "spark.executor", "resourceName": "gpu"}, "addresses": said}
    assert done.stdout.strip() == ",".join(said)
    found = ask(sys.executable, str(BIN / "occam-gpus"))
    assert json.loads(found.stdout) == {"name": "gpu", "addresses": said}


@pytest.mark.parametrize(
    ("gpus", "cores", "part"),
    [(1, 1, "1"), (1, 2, "0.500000"), (1, 6, "0.166666"), (2, 3, "0.500000"), (4, 2, "2"), (3, 2, "1")],
)
def test_an_executor_runs_as_many_tasks_as_without_gpus(gpus: int, cores: int, part: str) -> None:
    told = conf(cores=cores, gpus=gpus)
    assert told["spark.executor.resource.gpu.amount"] == str(gpus)
    assert told["spark.task.resource.gpu.amount"] == part
    amount = float(part)
    slots = gpus // int(amount) if amount >= 1 else gpus * int(1 / amount)  # as Spark counts (ResourceUtils)
    assert slots >= cores
    assert not any("gpu" in key for key in conf(cores=cores))
