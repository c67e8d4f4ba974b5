"""Plans, as tables of cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from occamctl.plan import steps
from occamctl.plan.diff import diff, first_stage
from occamctl.plan.seen import Observed, SeenCluster, SeenData, SeenHost, SeenService
from occamctl.plan.wanted import Account, Data, Tags, front_label, want
from occamctl.spec.course import Course

TAGS = Tags("occam/hub:1", "occam/notebook:1")
COURSE = Course.model_validate(
    {"version": 1, "course": "ml", "hosts": ["a", "b", "c"], "students": ["anna", "B.Smith@x.org"]}
)
WANT = want(COURSE, TAGS)


def complete() -> Observed:
    """A course that is up, as it would be read back."""
    return Observed(
        hosts={
            name: SeenHost(name, in_swarm=True, node_id=name, images=frozenset(WANT.images[name]))
            for name in WANT.hosts
        },
        swarm_nodes=frozenset(WANT.hosts),
        node_labels={name: dict(WANT.node_labels[name]) for name in WANT.hosts},
        networks={WANT.network.name: WANT.network.subnet},
        secrets=frozenset(WANT.secrets),
        configs=frozenset(config.name for config in WANT.configs),
        services={
            one.name: SeenService(one.spec_hash, 1, 1, tuple(file.name for file in one.configs))
            for one in WANT.services
        },
        accounts=WANT.accounts,
        clusters={},
    )


def test_nothing_to_do_when_everything_is_there():
    assert diff(WANT, complete()) == []


def test_a_bare_course_needs_everything_in_the_order_of_the_stages():
    planned = diff(WANT, Observed(hosts={name: SeenHost(name) for name in WANT.hosts}))
    order = [stage for stage in steps.Stage if any(step.stage is stage for step in planned)]
    assert [step.stage for step in planned] == sorted((step.stage for step in planned), key=list(steps.Stage).index)
    absent = (steps.Stage.GPUS, steps.Stage.MATERIAL)
    assert order[:5] == [stage for stage in steps.Stage if stage not in absent][:5], "no host has a GPU"
    assert {step.host for step in first_stage(planned)} == {"a", "b", "c"}


def test_hosts_meet_at_the_addresses_that_the_course_file_says():
    hosts = [{"hostname": "a", "address": "10.0.0.1"}, {"hostname": "b", "address": "10.0.0.2"}, "c"]
    wanted = want(COURSE.model_validate({"version": 1, "course": "ml", "hosts": hosts}), TAGS)
    planned = diff(wanted, Observed(hosts={name: SeenHost(name) for name in wanted.hosts}))
    meeting = [step for step in planned if isinstance(step, steps.FormSwarm | steps.JoinSwarm)]
    assert [(step.host, step.address) for step in meeting] == [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "c")]


@pytest.mark.parametrize(
    ("change", "planned"),
    [
        ({"secrets": frozenset({"ml-proxy-token"})}, ["secret ml-gateway-token"]),
        ({"networks": {}}, ["network ml-net (10.186.0.0/22)"]),
        ({"accounts": (Account("anna", "student"),)}, ["add 1 account (B.Smith@x.org)"]),
        (
            {"accounts": (*WANT.accounts, Account("gone", "student"))},
            ["remove 1 account (gone)"],
        ),
        ({"clusters": {"old": SeenCluster(2)}}, ["Spark cluster old"]),
        ({"clusters": {"main": SeenCluster(2)}}, ["Spark cluster main"]),
        ({"clusters": {"main": SeenCluster(2, declared=False)}}, []),
        (
            {"configs": frozenset({*(one.name for one in WANT.configs), "ml-hub-settings-old"})},
            ["settings ml-hub-settings-old, no longer used"],
        ),
    ],
)
def test_one_thing_missing_is_one_step(change, planned):
    assert [step.what for step in diff(WANT, replace(complete(), **change))] == planned


def test_a_stopped_service_is_waited_for_and_a_changed_one_is_changed():
    there = complete()
    stopped = there.services | {"ml-hub": replace(there.services["ml-hub"], running=0)}
    changed = there.services | {"ml-hub": replace(there.services["ml-hub"], spec_hash="other")}
    assert diff(WANT, replace(there, services=stopped)) == [steps.AwaitService("", "ml-hub")]
    assert [(step.kind, step.what) for step in diff(WANT, replace(there, services=changed))] == [
        ("change", "change service ml-hub")
    ]


def test_a_gateway_that_cannot_tell_its_clusters_is_waited_for():
    """It has just been restarted: a declared cluster is there already, and one that left the file has to go."""
    course = COURSE.model_copy(
        update={"spark": COURSE.spark.model_validate({"clusters": [{"name": "demo", "workers": 4}]})}
    )
    for wanted in (want(course, TAGS), WANT):
        there = replace(complete(), clusters=None, configs=frozenset(one.name for one in wanted.configs))
        there = replace(there, services={one.name: SeenService(one.spec_hash, 1, 1) for one in wanted.services})
        assert first_stage(diff(wanted, there)) == [steps.AwaitService("", "ml-gateway")]


def test_a_declared_cluster_is_made_scaled_and_left():
    course = COURSE.model_copy(
        update={"spark": COURSE.spark.model_validate({"clusters": [{"name": "demo", "workers": 4}]})}
    )
    wanted = want(course, TAGS)
    assert [step.what for step in diff(wanted, complete())] == ["Spark cluster demo: 4 workers"]
    for there, what in (
        (SeenCluster(2), ["Spark cluster demo: 2 → 4 workers"]),
        (SeenCluster(6), ["Spark cluster demo: 6 → 4 workers"]),  # scaled by hand: the file's number comes back
        (SeenCluster(4), []),
        (SeenCluster(4, declared=False), ["Spark cluster demo: 4 workers, was made by hand"]),
        (SeenCluster(1, declared=False), ["Spark cluster demo: 1 → 4 workers, was made by hand"]),
    ):
        planned = diff(wanted, replace(complete(), clusters={"demo": there}))
        assert [step.what for step in planned] == what
        assert [step.kind for step in planned] == ["change"] * len(what)


def test_a_new_student_changes_no_service():
    more = want(COURSE.model_copy(update={"students": [*COURSE.students, *COURSE.students[:1]]}), TAGS)
    assert [one.spec_hash for one in more.services] == [one.spec_hash for one in WANT.services]


def test_a_new_notebook_image_changes_the_gateway_only():
    other = want(COURSE, replace(TAGS, notebook="occam/notebook:2"))
    assert [
        one.name for one, old in zip(other.services, WANT.services, strict=True) if one.spec_hash != old.spec_hash
    ] == ["ml-gateway"]


def test_the_front_runs_on_the_manager_and_only_the_proxy_is_published():
    manager = want(
        Course.model_validate({"version": 1, "course": "ml", "hosts": ["a", {"hostname": "b", "manager": True}]}), TAGS
    )
    assert manager.hosts == ("b", "a")
    assert [host for host, given in manager.node_labels.items() if front_label("ml") in given] == ["b"]
    assert [one.name for one in manager.services if one.ports] == ["ml-proxy"]


def test_three_hosts_have_three_managers_and_two_have_one():
    two = want(Course.model_validate({"version": 1, "course": "ml", "hosts": ["a", "b"]}), TAGS)
    assert list(WANT.roles.values()) == ["manager"] * 3
    assert list(two.roles.values()) == ["manager", "worker"]


def test_secrets_show_in_no_repr():
    from occamctl.plan.desired import Secret

    assert "hidden" not in repr(Secret("name", b"hidden", {}))


OLD, NEW = SeenData("v1", "aa", "HIGGS.csv.gz"), SeenData("v2", "bb", "https://x.org/HIGGS.csv.gz")
FETCH, SEND = "data set higgs from HIGGS.csv.gz", "data set higgs as {} has it"


@pytest.mark.parametrize(
    ("sha256", "there", "planned"),
    [
        ("", {}, [("a", FETCH)]),
        ("", {"a": OLD, "b": OLD, "c": OLD}, []),
        ("", {"a": OLD, "b": OLD}, [("c", SEND.format("a"))]),
        ("", {"b": OLD}, [("a", SEND.format("b")), ("c", SEND.format("b"))]),
        ("", {"a": OLD, "b": NEW, "c": OLD}, [("b", SEND.format("a"))]),
        ("", {"a": NEW, "b": NEW, "c": NEW}, [("a", FETCH)]),
        ("bb", {"a": NEW, "b": NEW, "c": NEW}, []),
        ("bb", {"a": OLD, "b": OLD, "c": OLD}, [("a", FETCH)]),
        ("bb", {"a": OLD, "b": NEW}, [("a", SEND.format("b")), ("c", SEND.format("b"))]),
    ],
)
def test_a_declared_set_comes_to_every_host_as_one_of_them_has_it(sha256, there, planned):
    seen = complete()
    hosts = {
        name: replace(one, data={"higgs": there[name]} if name in there else {}) for name, one in seen.hosts.items()
    }
    wanted = replace(WANT, data=(Data("higgs", "HIGGS.csv.gz", sha256),))
    assert [(step.host, step.what) for step in diff(wanted, replace(seen, hosts=hosts))] == planned


def test_data_comes_after_everything_that_people_need_to_work():
    wanted = replace(WANT, data=(Data("higgs", "HIGGS.csv.gz"),))
    planned = diff(wanted, Observed(hosts={name: SeenHost(name) for name in WANT.hosts}))
    assert planned[-1].what == FETCH
    assert first_stage(planned)[0].stage is steps.Stage.SWARM
