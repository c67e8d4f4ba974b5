"""What a student asks for, before anything is asked of the gateway."""

from __future__ import annotations

import pytest
from occam.errors import Refused
from occam.wish import Wish, size


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


@pytest.mark.parametrize("workers", [0, -1, 2.5, "2", True, None])
def test_workers_are_a_whole_number(workers: object) -> None:
    with pytest.raises(Refused, match="whole number"):
        wish(workers=workers)


def test_the_request_leaves_the_courses_own_sizes_to_the_gateway() -> None:
    assert wish().request("10.0.0.5", 20001, "k1") == {
        "name": "lab",
        "workers": 2,
        "driver": "notebook",
        "driver_host": "10.0.0.5",
        "driver_port": 20001,
        "kernel": "k1",
    }
    asked = wish(cores=2, memory="3G").request("10.0.0.5", 20001, "")
    assert (asked["cores"], asked["memory"]) == (2, 3 << 30)


@pytest.mark.parametrize(
    "key", ["spark.master", "spark.authenticate.secret", "spark.occam.url", "spark.driver.port", "spark.ui.proxyBase"]
)
def test_settings_that_make_the_cluster_are_not_the_students(key: str) -> None:
    with pytest.raises(Refused, match=key):
        wish(conf={key: "x"})


def test_settings_are_spelt_as_spark_does() -> None:
    assert wish(conf={"spark.sql.ansi.enabled": False, "spark.task.cpus": 1}).conf == {
        "spark.sql.ansi.enabled": "false",
        "spark.task.cpus": "1",
    }


@pytest.mark.parametrize(("key", "value"), [("spark.a", "1\nspark.master local"), ("spark.a b", "1")])
def test_a_setting_cannot_bring_another_one(key: str, value: str) -> None:
    with pytest.raises(Refused, match="cannot be a setting"):
        wish(conf={key: value})


def test_only_the_number_of_workers_may_differ_while_it_runs() -> None:
    assert wish(workers=2).same_size(wish(workers=4))
    assert not wish().same_size(wish(memory="4G"))
    assert not wish().same_size(wish(conf={"spark.a": "1"}))
