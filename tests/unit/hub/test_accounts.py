"""The accounts file: who may sign in, and what is kept of them."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from pathlib import Path

import argon2
import pytest

from occamctl.errors import SpecError
from occamctl.hub import accounts as program
from occamctl.hub import known, passwords
from occamctl.hub.accounts import Accounts


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch):
    """The hash is real, but takes milliseconds."""
    monkeypatch.setattr(passwords, "MEMORY_KIB", 64)
    monkeypatch.setattr(passwords, "PASSES", 1)
    passwords._hasher.cache_clear()
    passwords._nobody.cache_clear()
    yield
    passwords._hasher.cache_clear()
    passwords._nobody.cache_clear()


@pytest.fixture
def accounts(tmp_path) -> Accounts:
    return Accounts(tmp_path / "accounts.json")


AWKWARD = ["Anna.Rossi", "bo_b@unito.it", "a+b", "x-y", "7", "A" * 64]


@pytest.mark.parametrize("name", AWKWARD)
def test_signs_in_under_the_name_as_it_is_written(accounts, name):
    accounts.put([{"username": name, "password": "right"}])
    assert accounts.verify(name, "right").username == name
    assert accounts.verify(name, "wrong") is None
    assert accounts.verify(name, "") is None


def test_nobody_signs_in_where_there_is_no_file(accounts):
    assert accounts.people() == {}
    assert accounts.verify("anna", "anything") is None


def test_capitals_do_not_matter_while_one_person_can_be_meant(accounts):
    accounts.put([{"username": "Anna", "password": "one"}])
    assert accounts.verify("anna", "one").username == "Anna"
    accounts.put([{"username": "anna", "password": "two"}])
    assert accounts.verify("anna", "one") is None
    assert accounts.verify("anna", "two").username == "anna"
    assert accounts.verify("Anna", "one").username == "Anna"
    assert accounts.verify("ANNA", "one") is None


def test_the_file_is_the_owners_alone_and_holds_no_password(accounts):
    accounts.put([{"username": "anna", "password": "a very plain password"}])
    assert stat.S_IMODE(accounts.path.stat().st_mode) == 0o600
    text = accounts.path.read_text()
    assert "a very plain password" not in text
    assert "$argon2id$" in text
    assert [one.name for one in accounts.path.parent.iterdir() if one.name.startswith(".accounts")] == []


def test_a_change_keeps_what_it_does_not_name(accounts):
    accounts.put([{"username": "anna", "password": "one", "group": "phd", "name": "Anna"}])
    assert accounts.put([{"username": "anna", "role": "instructor"}]) == []
    person = accounts.verify("anna", "one")
    assert (person.role, person.group, person.name) == ("instructor", "phd", "Anna")
    assert person.groups == ["instructor", "phd"]
    accounts.put([{"username": "anna", "group": ""}])
    assert accounts.people()["anna"].groups == ["instructor"]


def test_who_was_removed_cannot_sign_in(accounts):
    accounts.put([{"username": "anna", "password": "one"}, {"username": "bob", "password": "two"}])
    assert accounts.remove(["anna", "nobody"]) == ["anna"]
    assert accounts.verify("anna", "one") is None
    assert accounts.verify("bob", "two").username == "bob"


def test_what_another_process_wrote_is_seen(accounts):
    accounts.put([{"username": "anna", "password": "one"}])
    assert accounts.verify("anna", "one")
    Accounts(accounts.path).put([{"username": "anna", "password": "new"}])
    assert accounts.verify("anna", "one") is None
    assert accounts.verify("anna", "new")


@pytest.mark.parametrize(
    ("person", "wrong"),
    [
        ({"username": "anna"}, "needs a password"),
        ({"username": "anna", "password": ""}, "1 to"),
        ({"username": "anna", "password": "x" * 1025}, "1 to"),
        ({"username": "../x", "password": "x"}, "cannot be a user name"),
        ({"username": "a/b", "password": "x"}, "cannot be a user name"),
        ({"username": "a\n", "password": "x"}, "cannot be a user name"),
        ({"username": "A" * 65, "password": "x"}, "cannot be a user name"),
        ({"password": "x"}, "cannot be a user name"),
        ({"username": "course", "password": "x"}, "cannot be a user name"),
        ({"username": "anna", "password": "x", "role": "admin"}, "is no role"),
        ({"username": "anna", "password": "x", "group": "instructor"}, "is a role"),
    ],
)
def test_one_wrong_person_changes_nothing(accounts, person, wrong):
    accounts.put([{"username": "bob", "password": "x"}])
    before = accounts.path.read_bytes()
    with pytest.raises(SpecError, match=wrong):
        accounts.put([{"username": "carl", "password": "x"}, person])
    assert accounts.path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"people": 1}', '{"people": {"a": {"nonsense": 1}}}'])
def test_a_damaged_file_is_said_and_not_written_over(accounts, text):
    accounts.path.write_text(text)
    with pytest.raises(SpecError, match="damaged"):
        accounts.put([{"username": "anna", "password": "x"}])
    assert accounts.path.read_text() == text


def test_a_name_that_nobody_has_takes_as_long_as_a_wrong_password(accounts, monkeypatch):
    """The same work, that is: one check of a hash that costs as much."""
    accounts.put([{"username": "anna", "password": "one"}])
    real, costs = argon2.PasswordHasher.verify, []

    def verify(hasher: argon2.PasswordHasher, kept: str, password: str) -> bool:
        costs.append(argon2.extract_parameters(kept))
        return real(hasher, kept, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    assert accounts.verify("nobody", "wrong") is None
    assert accounts.verify("anna", "wrong") is None
    assert len(costs) == 2
    assert costs[0] == costs[1]


def test_writers_at_the_same_time_lose_nobody(tmp_path):
    path = tmp_path / "accounts.json"
    program_text = (
        "import sys; from pathlib import Path; from occamctl.hub import passwords;"
        "passwords.MEMORY_KIB, passwords.PASSES = 64, 1;"
        "from occamctl.hub.accounts import Accounts;"
        "[Accounts(Path(sys.argv[1])).put([{'username': f'{sys.argv[2]}{n}', 'password': 'x'}]) for n in range(10)]"
    )
    running = [subprocess.Popen([sys.executable, "-c", program_text, str(path), who]) for who in "abc"]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    assert len(Accounts(path).people()) == 30


def run(monkeypatch, capsys, folder: Path, command: object) -> tuple[int, dict]:
    told = {
        "course": "c",
        "gateway_url": "http://127.0.0.1:9",
        "hub_url": "http://127.0.0.1:9",
        "proxy_api": "http://127.0.0.1:9",
        "bind_url": "http://127.0.0.1:9",
        "data": str(folder),
    }
    (folder / "hub.json").write_text(json.dumps(told))
    monkeypatch.setenv("OCCAM_HUB_JSON", str(folder / "hub.json"))
    monkeypatch.setattr(known, "STARTING", 0)
    monkeypatch.setattr(sys, "stdin", io.StringIO(command if isinstance(command, str) else json.dumps(command)))
    code = program.main()
    return code, json.loads(capsys.readouterr().out)


def test_as_a_program(monkeypatch, capsys, tmp_path):
    def ask(command: object) -> tuple[int, dict]:
        return run(monkeypatch, capsys, tmp_path, command)

    people = [{"username": "anna", "role": "student", "group": "phd", "name": "", "email": "", "password": "one"}]
    code, said = ask({"command": "put", "people": people})
    assert (code, said["new"]) == (0, ["anna"])
    code, said = ask({"command": "list"})
    assert (code, said) == (
        0,
        {"people": [{"username": "anna", "role": "student", "group": "phd", "name": "", "email": ""}]},
    )
    code, said = ask({"command": "remove", "names": ["anna"]})
    assert (code, said["removed"]) == (0, ["anna"])
    assert ask({"command": "list"}) == (0, {"people": []})


@pytest.mark.parametrize("command", ["", "no json", "[]", "{}", '{"command": "list all"}', '{"command": "put"}'])
def test_a_wrong_command_is_said_in_json(monkeypatch, capsys, tmp_path, command):
    code, said = run(monkeypatch, capsys, tmp_path, command)
    assert code == 2
    assert said["error"]["exit_code"] == 2


def test_what_all_may_know_lies_beside_it_while_it_is_true(accounts, monkeypatch):
    """A writer that ends in the middle leaves none rather than an old one."""
    beside = accounts.path.with_name("people.json")
    told = lambda: json.loads(beside.read_text())["people"]  # noqa: E731
    accounts.put([{"username": "anna", "password": "one", "role": "student", "email": "a@b"}])
    assert told() == [{"username": "anna", "role": "student", "group": "", "name": "", "email": "a@b"}]
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    accounts.remove(["anna"])
    assert told() == []
    with monkeypatch.context() as broken:
        broken.setattr(Accounts, "_tell", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            accounts.put([{"username": "bob", "password": "two"}])
    assert not beside.exists()
    assert [person["username"] for person in accounts.listed()] == ["bob"]
    assert [person["username"] for person in told()] == ["bob"]
