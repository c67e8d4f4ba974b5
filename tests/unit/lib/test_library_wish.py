"""What a student asks for, before anything is asked of the gateway."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from occam.errors import Refused
from occam.wish import Wish, seconds, size


def wish(**more: object) -> Wish:
    words = {"name": "lab", "workers": 2, "cores": None, "memory": None, "conf": {}} | more
    return Wish.of(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2G", 2 << 30), ("1500M", 1500 << 20), ("1.5 GiB", 3 << 29), (1024, 1024), (None, 0), ("2gb", 2 << 30)],
)
def test_sizes(text: str | int | None, amount: int) -> None:
    assert size(text) == amount


@pytest.mark.parametrize("text", ["", "two", "-1G", "2K3", "1T"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refused, match="2G"):
        size(text)


@pytest.mark.parametrize("workers", [0, -1, 2.5, "2", True])
def test_workers_are_a_whole_number(workers: object) -> None:
    with pytest.raises(Refused, match="whole number"):
        wish(workers=workers)


def test_whole_numbers_of_numpy_are_taken_for_what_they_are() -> None:
    taken = [wish(workers=np.int64(3)).workers, wish(cores=np.uint8(2)).cores, wish(adaptive=(np.int32(1), 2)).adaptive]
    assert taken == [3, 2, (1, 2)]
    assert type(taken[0]) is int
    for wrong in (np.True_, np.float64(2), np.int64(0)):
        with pytest.raises(Refused, match="workers must be a whole number of at least 1"):
            wish(workers=wrong)


def test_the_request_leaves_the_courses_own_sizes_to_the_gateway() -> None:
    assert wish().request("10.0.0.5", 20001, 20002, "k1") == {
        "name": "lab",
        "workers": 2,
        "driver": "notebook",
        "driver_host": "10.0.0.5",
        "driver_port": 20001,
        "ui_port": 20002,
        "kernel": "k1",
    }
    asked = wish(cores=2, memory="3G").request("10.0.0.5", 20001, 20002, "")
    assert (asked["cores"], asked["memory"]) == (2, 3 << 30)


@pytest.mark.parametrize(
    "key", ["spark.master", "spark.authenticate.secret", "spark.occam.url", "spark.driver.port", "spark.ui.proxyBase"]
)
def test_settings_that_make_the_cluster_are_not_the_students(key: str) -> None:
    with pytest.raises(Refused, match=key):
        wish(conf={key: "x"})


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("spark.executor.instances", "workers="),
        ("spark.executor.cores", "cores="),
        ("spark.executor.memory", "memory="),
        ("spark.executor.memoryOverhead", "memory="),
        ("spark.executor.resource.gpu.amount", "gpu="),
        ("spark.dynamicAllocation.enabled", "adaptive="),
        ("spark.dynamicAllocation.maxExecutors", "adaptive="),
    ],
)
def test_what_the_gateway_makes_workers_by_is_no_setting_and_it_says_what_to_write(key: str, instead: str) -> None:
    with pytest.raises(Refused, match=key) as caught:
        wish(conf={key: True})
    assert instead in caught.value.fix


def test_how_long_idle_workers_stay_is_a_setting() -> None:
    idle = {"spark.dynamicAllocation.executorIdleTimeout": "4s"}
    assert wish(conf=idle).conf == idle


def test_settings_are_spelt_as_spark_does() -> None:
    assert wish(conf={"spark.sql.ansi.enabled": False, "spark.task.cpus": 1}).conf == {
        "spark.sql.ansi.enabled": "false",
        "spark.task.cpus": "1",
    }


@pytest.mark.parametrize(("key", "value"), [("spark.a", "1\nspark.master local"), ("spark.a b", "1")])
def test_a_setting_cannot_bring_another_one(key: str, value: str) -> None:
    with pytest.raises(Refused, match="cannot be a setting"):
        wish(conf={key: value})


def test_only_what_was_asked_for_and_differs_stands_in_the_way() -> None:
    runs = wish(cores=1, memory="2G", conf={"spark.a": "1"})
    assert runs.differences(wish(workers=4)) == []
    assert runs.differences(wish(memory="2G", conf={"spark.a": 1})) == []
    assert runs.differences(wish(cores=2, memory="4G", gpu=1, conf={"spark.b": "1"})) == [
        "cores",
        "memory",
        "gpu",
        "spark.b",
    ]


def test_what_was_left_away_becomes_what_the_gateway_gave() -> None:
    granted = wish(workers=None).granted({"cores": 1, "memory": 2 << 30})
    assert (granted.workers, granted.cores, granted.memory) == (2, 1, 2 << 30)
    assert Wish.from_json(json.loads(json.dumps(granted.as_json()))) == granted


@pytest.mark.parametrize(
    ("text", "amount"), [("90s", 90), ("5m", 300), ("1h", 3600), (30, 30), (0, 0), ("1.5m", 90), (2.5, 2.5)]
)
def test_times(text: str | float, amount: float) -> None:
    assert seconds(text) == amount


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 days", True])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refused, match="5m"):
        seconds(text)


def test_an_adaptive_cluster_begins_small_and_stays_within_its_bounds() -> None:
    asked = wish(workers=None, adaptive=(1, 6))
    assert asked.first_workers == 1
    assert asked.request("10.0.0.5", 20001, 20002, "")["adaptive"] == [1, 6]
    assert wish(workers=9, adaptive=(1, 6)).first_workers == 6
    assert Wish.from_json(json.loads(json.dumps(asked.as_json()))) == asked


def test_an_adaptive_cluster_may_give_all_its_workers_back() -> None:
    asked = wish(workers=None, adaptive=(0, 6))
    assert asked.first_workers == 0
    assert asked.request("10.0.0.5", 20001, 20002, "")["workers"] == 0


@pytest.mark.parametrize("adaptive", [(6, 1), (-1, 2), (0, 0), (1,), 3, (1, "2")])
def test_bounds_are_two_whole_numbers_the_smaller_first(adaptive: object) -> None:
    with pytest.raises(Refused):
        wish(adaptive=adaptive)


def test_libraries_become_settings_of_spark(tmp_path: Path) -> None:
    jar = tmp_path / "mine.jar"
    jar.touch()
    asked = wish(packages=["org.example:thing_2.13:1.0"], jars=[str(jar), "https://example.org/other.jar"], gpu=1)
    assert asked.conf == {
        "spark.jars.packages": "org.example:thing_2.13:1.0",
        "spark.jars": f"{jar},https://example.org/other.jar",
    }
    assert asked.request("10.0.0.5", 20001, 20002, "")["gpu"] == 1


@pytest.mark.parametrize(
    ("more", "example"),
    [
        ({"conf": ["spark.sql.ansi.enabled"]}, "conf={"),
        ({"conf": {1: 2}}, "conf={"),
        ({"packages": "a:b:c"}, "packages=["),
        ({"packages": None}, "packages=["),
        ({"jars": 5}, "jars=["),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_with_an_example(more: dict[str, object], example: str) -> None:
    with pytest.raises(Refused) as caught:
        wish(**more)
    assert example in caught.value.fix


@pytest.mark.parametrize("more", [{"jars": ["/nowhere.jar"]}, {"jars": "a.jar"}, {"packages": ["a:b"]}, {"gpu": -1}])
def test_libraries_that_cannot_be_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(Refused):
        wish(**more)
