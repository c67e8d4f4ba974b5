"""The hub's settings and rights."""

from __future__ import annotations

import json

import pytest

from occamctl.errors import SpecError
from occamctl.hub import roles, settings
from occamctl.plan.wanted import Tags, want
from occamctl.spec.course import Course


def test_reads_what_the_plan_writes(tmp_path):
    course = Course.model_validate({"version": 1, "course": "ml-2026", "notebook": {"idle_timeout": "90m"}})
    written = next(one for one in want(course, Tags("hub", "notebook")).configs if "-hub-" in one.name)
    path = tmp_path / "hub.json"
    path.write_bytes(written.data)
    read = settings.read(path)
    assert (read.course, read.title, read.idle_timeout) == ("ml-2026", "ml-2026", 5400)
    assert read.gateway_url == "http://tasks.ml-2026-gateway:8080/services/gateway/api"
    assert read.hub_url == "http://tasks.ml-2026-hub:8081"
    assert read.proxy_api == "http://tasks.ml-2026-proxy:8001"


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"course": "x"}), '"text"'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "hub.json"
    path.write_text(text)
    with pytest.raises(SpecError):
        settings.read(path)


def test_a_missing_secret_is_said_by_name(tmp_path):
    there = settings.Settings("c", "c", "http://g", "http://h", "http://p", secrets=tmp_path)
    with pytest.raises(SpecError, match="gateway-token"):
        there.secret("gateway-token")
    (tmp_path / "gateway-token").write_text("abc\n")
    assert there.secret("gateway-token") == "abc"


def test_nobody_who_signs_in_is_an_administrator():
    of_people = [role for role in roles.roles() if "services" not in role]
    assert {role["name"] for role in of_people} == {"user", "instructor"}
    strong = {"admin:users", "admin:servers", "admin:groups", "tokens", "access:servers", "shutdown", "proxy", "users"}
    for role in of_people:
        assert not strong & set(role["scopes"])


def test_a_notebooks_token_reaches_its_owner_and_the_gateway_only():
    allowed = {"user", "server", "service=gateway"}
    assert all(scope.partition("!")[2] in allowed for scope in roles.NOTEBOOK_TOKEN)


@pytest.mark.parametrize(("idle", "every"), [(7200, 300), (60, 20), (5, 10)])
def test_the_culler_looks_often_enough(idle, every):
    service, role = roles.culler(idle)
    assert service["command"][-2:] == [f"--timeout={idle}", f"--cull-every={every}"]
    assert role["services"] == [service["name"]]
