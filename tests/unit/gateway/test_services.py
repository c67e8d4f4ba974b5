"""What the gateway asks the engine for: notebooks, executors, drivers; and nothing secret in what `inspect` shows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from occamctl.gateway import notebook_service as notebook
from occamctl.gateway.gpu_grants import Grant, grant_of
from occamctl.gateway.quotas import Quotas
from occamctl.gateway.settings import Settings
from occamctl.plan import desired
from occamctl.plan.observed import Gpu
from occamctl.spark import clusters
from occamctl.spec import names

from .test_ledger import facts

GIB = 1 << 30
SECRET = "s3cret-of-the-cluster-0000"
QUOTAS = {
    "student": {"workers": 4},
    "instructor": {"workers": 16},
    "groups": {"phd": {"workers": 8, "guarantee": 1, "together": {"workers": 20}}, "msc": {"workers": 5}},
    "users": {"bob": {"workers": 1}},
    "course": {"workers": 50},
}
SETTINGS = Settings(
    course="ml-2026",
    version="0.1",
    hub_api="http://tasks.ml-2026-hub:8081/hub/api",
    hub_net="ml-2026-net",
    pool="10.186.0.0/16",
    hub_subnet="10.186.0.0/22",
    image="localhost/occam/notebook:1",
    notebook_cpus=2,
    notebook_memory=4 * GIB,
    worker_cpus=1,
    worker_memory=2 * GIB,
    quotas=Quotas.of(QUOTAS),
)
USER = "Anna.Rossi@unito.it"
HOME = notebook.Home("1f2e", "node-1", "new")


def made_notebook() -> desired.Service:
    return notebook.service(SETTINGS, USER, HOME, "10.186.4.0/26", "the-secret", mark="m", before="")


def test_a_notebook_with_gpus_asks_the_swarm_for_each_and_remembers_them() -> None:
    held = (Gpu("GPU-1a", "NVIDIA A100-SXM4-40GB", 40 * GIB), Gpu("GPU-2b", "NVIDIA A100-SXM4-40GB", 40 * GIB))
    grant = Grant(USER, ("phd",), "node-1", held, until=1_791_201_600.0)
    made = notebook.service(
        SETTINGS, USER, HOME, "10.186.4.0/26", "the-secret", mark="m", before="", groups=("phd",), grant=grant
    )
    assert made.generic == ("OCCAM_GPU_GPU_1A", "OCCAM_GPU_GPU_2B")
    assert made.env["NVIDIA_VISIBLE_DEVICES"] == "void", "the swarm's own assignment decides"
    assert made.env["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert made.labels["occam.gpus.until"] == "2026-10-05T12:00:00+00:00"
    assert grant_of(made.labels, USER, notebook.groups_of(made.labels), "node-1") == grant
    without = made_notebook()
    assert (without.generic, without.env["NVIDIA_VISIBLE_DEVICES"]) == ((), "void")
    assert "NVIDIA_DRIVER_CAPABILITIES" not in without.env
    assert grant_of(without.labels, USER, (), "node-1") is None
    listed = [{"DiscreteResourceSpec": {"Kind": kind, "Value": 1}} for kind in made.generic]
    there = {"Spec": {"TaskTemplate": {"Resources": {"Reservations": {"GenericResources": listed}}}}}
    assert notebook.runs_with(there) == grant.kinds
    assert notebook.runs_with({"Spec": {"TaskTemplate": {}}}) == frozenset()
    env = ["A=1", "DOCKER_RESOURCE_OCCAM_GPU_GPU_1A=GPU-1a", "DOCKER_RESOURCE_OCCAM_GPU_GPU_2B=GPU-2b"]
    assert notebook.runs_with({"Spec": {"TaskTemplate": {"ContainerSpec": {"Env": env}}}}) == grant.kinds


def test_a_notebook_is_walled_in_and_pinned_to_its_home() -> None:
    made = made_notebook()
    assert (made.cap_drop, made.restart, made.constraints) == (("ALL",), "none", ("node.id==node-1",))
    assert set(made.cap_add) == {"CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"}
    assert (made.cpu_limit, made.mem_limit, made.pids_limit) == (2, 4 * GIB, 1024)
    assert made.cpu_reserve == 0
    assert made.networks == ("ml-2026-net", names.Names("ml-2026").net(USER))
    assert made.mounts[0].target == "/home"
    assert made.mounts[0].labels[names.HOME] == "1f2e"
    assert notebook.home_of(made.labels) == HOME


def test_the_hubs_environment_is_in_a_secret_and_nowhere_else() -> None:
    secret = notebook.environment_secret(SETTINGS, USER, {"JUPYTERHUB_API_TOKEN": "t0ken"})
    assert json.loads(secret.data) == {"JUPYTERHUB_API_TOKEN": "t0ken"}
    assert "t0ken" not in repr(secret)
    assert len(secret.name) <= 64
    again = notebook.environment_secret(SETTINGS, USER, {})
    assert again.name != secret.name
    assert "TOKEN" not in repr(made_notebook())


def test_a_forgotten_notebook_remembers_where_the_home_is() -> None:
    kept = replace(HOME, state="kept")
    assert notebook.home_of(notebook.memory(SETTINGS, USER, kept).labels) == kept


def test_an_executor_has_its_size_its_number_and_no_secret_in_sight() -> None:
    asked = facts(USER, "lab", cores=2, memory=3 * GIB)
    made = clusters.executor(SETTINGS.site, asked, 7, "node-2", "10.186.4.0/26")
    assert made.name.endswith("-lab-e7")
    assert made.env["OCCAM_EXECUTOR_ID"] == "7"
    assert (made.env["OCCAM_CORES"], made.env["OCCAM_MEMORY"]) == ("2", str(3 * GIB))
    assert (made.cpu_limit, made.cpu_reserve, made.mem_limit, made.mem_reserve) == (2, 2, 3 * GIB, 3 * GIB)
    assert (made.user, made.stop_signal, made.restart, made.cap_add) == ("1000", "SIGPWR", "none", ())
    assert made.networks == (names.Names("ml-2026").net(USER),)
    secret = clusters.secret(SETTINGS.site, asked, SECRET)
    assert [one.name for one in made.secrets] == [secret.name]
    assert SECRET in secret.data.decode()
    assert SECRET not in repr(secret)
    assert SECRET not in json.dumps(secret.labels)


def test_a_connect_driver_gets_its_configuration_as_a_secret() -> None:
    asked = facts("course", "main", driver="connect", driver_host="tasks.ml-2026-course-main-driver")
    conf, token = clusters.driver_secrets(SETTINGS.site, asked, SECRET, "a-token")
    assert f"spark.authenticate.secret {SECRET}" in conf.data.decode()
    assert token.data == b"a-token"
    made = clusters.driver(SETTINGS.site, asked, "node-1", "10.186.4.0/26")
    assert {one.name for one in made.secrets} == {conf.name, token.name}
    assert SECRET not in repr(made)


def test_an_application_runs_once_and_its_words_are_in_a_secret() -> None:
    site, told = SETTINGS.site, replace(facts(driver="application"), driver_host="tasks.x", driver_port=7078)
    made = clusters.driver(site, told, "node-1", "10.186.4.0/26")
    assert (made.user, made.cap_drop, made.cap_add, made.restart) == ("1000", ("ALL",), (), "none")
    assert [one.target.rpartition("/")[2] for one in made.secrets] == ["driver.conf", "driver-token", "application"]
    secrets = clusters.driver_secrets(site, told, SECRET, "token", conf={"spark.x": "y"}, packed=b"my words")
    assert {one.name for one in made.secrets} == {one.name for one in secrets}
    assert secrets[2].data == b"my words"
    assert b"spark.x y\n" in secrets[0].data
    assert "my words" not in repr(secrets)
    assert clusters.driver(site, replace(told, driver="connect"), "node-1", "10.186.4.0/26").restart == "any"
    assert {one.name for one in secrets} < set(clusters.Secrets.of(site, told).in_order)  # all of them are removed


def test_what_a_cluster_is_can_be_read_back_from_its_label() -> None:
    more = {"adaptive": (1, 6), "profiles": (clusters.Profile(1, 2, 4, 8 * GIB),), "groups": ("phd",)}
    asked = facts(USER, "lab", next_id=9, ending=True, declared=True, notebook="task-1", **more)
    assert clusters.Facts.read(clusters.secret(SETTINGS.site, asked, SECRET).labels[clusters.FACTS]) == asked


def test_the_longest_names_fit() -> None:
    site = replace(SETTINGS.site, course="m" * names.MAX_COURSE)
    asked = facts("x" * 64, "c" * names.MAX_CLUSTER)
    called = clusters.Secrets.of(site, asked)
    assert max(len(called.args), len(called.conf), len(called.token)) <= 64
    assert len(clusters.executor(site, asked, 999_999, "n", "10.0.0.0/26").name) <= 63


@pytest.mark.parametrize(
    ("owner", "groups", "limit"),
    [
        ("anna", [], 4),
        ("anna", ["phd"], 8),
        ("anna", ["phd", "msc", "other"], 8),
        ("anna", ["instructor", "phd"], 16),
        ("course", [], 16),
        ("bob", ["phd"], 1),
    ],
)
def test_quota(owner: str, groups: list[str], limit: int) -> None:
    assert SETTINGS.quotas.rights(owner, groups).limits.workers == limit


def test_shared_limits_are_those_of_the_group_and_of_the_course() -> None:
    rights = SETTINGS.quotas.rights("anna", ["student", "phd"])
    assert rights.guarantee == 1
    assert [(one.called, one.limits.workers) for one in rights.shared] == [("group phd", 20), ("the course", 50)]


def test_whoever_works_has_the_data_and_cannot_change_it() -> None:
    site = clusters.Site("ml-2026", "localhost/occam/notebook:1", "http://gateway", "ml-2026-net")
    services = (
        made_notebook(),
        clusters.executor(site, facts(), 1, "node-1", "10.186.4.0/26"),
        clusters.driver(site, facts(driver="application"), "node-1", "10.186.4.0/26"),
    )
    for one in services:
        (mount,) = [mount for mount in one.mounts if mount.target == "/data"]
        assert (mount.source, mount.type, mount.read_only) == ("ml-2026-data", "volume", True)
        assert mount.labels["occam.course"] == "ml-2026", "course down finds it"
