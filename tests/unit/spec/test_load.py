"""A right course file gives a course; a wrong one gives everything that is wrong, each with its place."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from occamctl.errors import SpecError
from occamctl.spec.load import load, load_text, roster_path

HEAD = "version: 1\ncourse: ml-2026\n"


def wrong(text: str, **more: object) -> list[SpecError]:
    with pytest.raises(SpecError) as caught:
        load_text(HEAD + text, environment={}, **more)  # type: ignore[arg-type]
    return [caught.value, *caught.value.others]


def test_the_smallest_file_has_good_defaults() -> None:
    course = load_text(HEAD)
    assert (course.course, course.hosts, course.students, course.manager) == ("ml-2026", [], [], None)
    assert (course.hub.port, course.notebook.mem_limit, course.spark.worker.memory) == (8000, 4 << 30, 2 << 30)


def test_values_mean_what_their_key_needs() -> None:
    course = load_text(
        HEAD
        + """
title: 2026
students: [no, 007, {username: 1e3, name: on}, "12"]
hosts:
  - node1
  - {hostname: node2, manager: yes, labels: {rack: 1.10}}
notebook: {cpu_limit: 1.5, mem_limit: 512M, idle_timeout: 0}
"""
    )
    assert course.title == "2026"
    assert [one.username for one in course.students] == ["no", "007", "1e3", "12"]
    assert course.manager is not None
    assert (course.manager.hostname, course.manager.labels) == ("node2", {"rack": "1.10"})
    assert (course.notebook.cpu_limit, course.notebook.mem_limit, course.notebook.idle_timeout) == (1.5, 512 << 20, 0)


@pytest.mark.parametrize(
    ("text", "where", "what", "fix"),
    [
        ("notebook:\n  cpu: 2\n", "occam.yaml:4:3", "notebook.cpu: unknown key", "did you mean 'cpu_limit'?"),
        ("notebok: {}\n", "occam.yaml:3:1", "notebok: unknown key", "did you mean 'notebook'?"),
        ("mem_limit: 4G\n", "occam.yaml:3:1", "mem_limit: unknown key", "mem_limit belongs in notebook"),
        ("hub: {port: many}\n", "occam.yaml:3:7", "hub.port: is not a whole number", ""),
        ("hub: {port: 99999}\n", "occam.yaml:3:7", "hub.port: must be at most 65535", ""),
        ("hub: 8000\n", "occam.yaml:3:1", "hub: must be a mapping, key: value", ""),
        ("hub: {auth: ldap}\n", "occam.yaml:3:7", "hub.auth: 'ldap' is not known", "known: 'password'"),
        ("hosts: node1\n", "occam.yaml:3:1", "hosts: must be a list", ""),
        ("hosts: [n1, {port: 22}]\n", "occam.yaml:3:13", "hosts[1].hostname: is missing", ""),
        ("hosts: [n1, {hostname: }]\n", "occam.yaml:3:14", "hosts[1].hostname: has no value", ""),
        ("hosts: [a, b, A]\n", "occam.yaml:3:15", "hosts[2]: A is there twice", "first in line 3"),
        (
            "hosts: [{hostname: n1, gpus: [A100]}]\n",
            "occam.yaml:3:24",
            "hosts[0].gpus: 'A100' is not the UUID of a GPU, such as GPU-…",
            "see: nvidia-smi -L",
        ),
        (
            "hosts: [ops@n1]\n",
            "occam.yaml:3:9",
            "hosts[0]: 'ops@n1' is not a host name",
            "write user: beside hostname:",
        ),
        (
            "hosts: ['n1:22']\n",
            "occam.yaml:3:9",
            "hosts[0]: 'n1:22' is not a host name",
            "write port: beside hostname:",
        ),
        (
            "hosts: [{hostname: n1, address: eth1}]\n",
            "occam.yaml:3:24",
            "hosts[0].address: 'eth1' is not an IPv4 address",
            "such as 10.0.0.2; leave it away and it is found out",
        ),
        (
            "hosts: [{hostname: n1, gpus: [0]}]\n",
            "occam.yaml:3:24",
            "hosts[0].gpus: '0' is not the UUID of a GPU, such as GPU-…",
            "see: nvidia-smi -L",
        ),
        (
            "hosts: ['-oProxyCommand=x']\n",
            "occam.yaml:3:9",
            "hosts[0]: '-oProxyCommand=x' is not a host name",
            "a name, an address, or a Host of ~/.ssh/config",
        ),
        (
            "hosts:\n  - {hostname: a, manager: true}\n  - {hostname: b, manager: true}\n",
            "occam.yaml:5:19",
            "hosts[1].manager: a is the manager already",
            "one host runs the hub",
        ),
        (
            "notebook: {mem_limit: lots}\n",
            "occam.yaml:3:12",
            "notebook.mem_limit: 'lots' is not a size such as 512M or 4G",
            "",
        ),
        (
            "notebook: {mem_limit: 1M}\n",
            "occam.yaml:3:12",
            "notebook.mem_limit: 1M is less than the 512M that it needs",
            "",
        ),
        ("notebook: {cpu_limit: nan}\n", "occam.yaml:3:12", "notebook.cpu_limit: is not a number", ""),
        ("notebook: {cpu_limit: 0}\n", "occam.yaml:3:12", "notebook.cpu_limit: must be more than 0", ""),
        ("spark: {lease: 1s}\n", "occam.yaml:3:9", "spark.lease: 1 s is less than the 10 s that it needs", ""),
        (
            "spark: {clusters: [{name: a, workers: 9}, {name: b, workers: 9}]}\n",
            "occam.yaml:3:53",
            "spark.clusters[1].workers: with those before 18 workers, and quotas.instructor.workers allows 16",
            "raise quotas.instructor.workers to 18, or ask for fewer",
        ),
        (
            "spark: {clusters: [{name: a}, {name: a}]}\n",
            "occam.yaml:3:32",
            "spark.clusters[1].name: a is there twice",
            "",
        ),
        (
            "ssh: {sudo_password: hunter2}\n",
            "occam.yaml:3:7",
            "ssh.sudo_password: a password must not stand in the file",
            "write ${SUDO_PASSWORD} and export it",
        ),
        (
            "ssh: {sudo_password: '${S:-hunter2}'}\n",
            "occam.yaml:3:7",
            "ssh.sudo_password: a password must not stand in the file",
            "write ${SUDO_PASSWORD} and export it",
        ),
        (
            "ssh: {identity_file: nowhere/key}\n",
            "occam.yaml:3:7",
            "ssh.identity_file: nowhere/key is not a file here",
            "",
        ),
        (
            "title: ${TITLE}\n",
            "occam.yaml:3:8",
            "TITLE is not set in the environment",
            "export TITLE=…, or write ${TITLE:-default}",
        ),
        (
            "title: ${TITLE\n",
            "occam.yaml:3:8",
            "${ begins a variable that does not end",
            "write ${NAME} or ${NAME:-default}; $$ is a dollar",
        ),
        (
            "students: [anna, bob, anna]\n",
            "occam.yaml:3:23",
            "students[2]: anna is there twice",
            "the first is at occam.yaml:3:12",
        ),
        (
            "students: [anna, Anna]\n",
            "occam.yaml:3:18",
            "students[1]: Anna and anna differ in capitals only",
            "the first is at occam.yaml:3:12",
        ),
        (
            "instructors: [anna]\nstudents: [anna]\n",
            "occam.yaml:4:12",
            "students[0]: anna is there twice",
            "the first is at occam.yaml:3:15",
        ),
        (
            "students: ['a b']\n",
            "occam.yaml:3:12",
            "students[0]: 'a b' cannot be a user name",
            "start with a letter or digit, then letters, digits and - _ . @ +",
        ),
        *(
            (
                f"{role}: [course]\n",
                f"occam.yaml:3:{len(role) + 4}",
                f"{role}[0]: 'course' cannot be a user name",
                "it stands for the course itself, the owner of what is shared",
            )
            for role in ("students", "instructors")
        ),
        (
            "quotas: {groups: {phd: {}}}\nstudents: [{username: a, group: phs}]\n",
            "occam.yaml:4:26",
            "students[0].group: phs is not in quotas.groups",
            "did you mean 'phd'?",
        ),
        (
            "quotas: {users: {ana: {workers: 2}}}\nstudents: [anna]\n",
            "occam.yaml:3:18",
            "quotas.users.ana: ana is not in the course",
            "did you mean 'anna'?",
        ),
        (
            "quotas: {student: {workers: 2, guarantee: 3}}\n",
            "occam.yaml:3:10",
            "quotas.student: guarantee (3) is more than workers (2)",
            "",
        ),
        (
            "image: {pip: ['--index-url=http://x']}\n",
            "occam.yaml:3:15",
            "image.pip[0]: '--index-url=http://x' is not a Python package",
            "write name or name==version; options of pip have no place here",
        ),
        (
            "image: {from: a/b, pip: [x]}\n",
            "occam.yaml:3:1",
            "image: 'from' brings its own packages",
            "leave pip and apt away, or 'from'",
        ),
        (
            "network: {pool: 8.8.0.0/16}\n",
            "occam.yaml:3:11",
            "network.pool: 8.8.0.0/16 is not a range of private IPv4 addresses",
            "write 10.186.0.0/16",
        ),
        ("title: a\ntitle: b\n", "occam.yaml:4:1", "title: given twice", "the first is in line 3"),
        ("title: !python/object:os.system x\n", "occam.yaml:3:8", "a YAML tag means nothing here", "leave it away"),
        ('title: "a\\u001b[2Jb"\n', "occam.yaml:3:8", "holds the control character U+001B", ""),
    ],
)
def test_a_wrong_file_says_where_what_and_how(text: str, where: str, what: str, fix: str) -> None:
    (error,) = wrong(text)
    assert (error.where, error.what, error.fix) == (where, what, fix)


@pytest.mark.parametrize("name", ["ML 2026", "2026", "ml_2026", "ml--2026", "a" * 21, "ml-", "-ml"])
def test_a_course_has_a_name_that_suits_dns(name: str) -> None:
    with pytest.raises(SpecError, match="cannot be a course's name"):
        load_text(f"version: 1\ncourse: {name!r}\n")


def test_everything_wrong_is_told_in_the_order_of_the_file() -> None:
    errors = wrong("hosts: [a, a]\nhub: {port: x}\nnotebook: {cpu: 1}\nspark: {clusters: [{name: X}, {}]}\nfoo: 1\n")
    assert [error.where for error in errors] == [
        f"occam.yaml:{place}" for place in ("3:12", "4:7", "5:12", "6:21", "6:31", "7:1")
    ]


def test_a_wrong_item_keeps_the_number_of_those_behind_it() -> None:
    errors = wrong("spark: {clusters: [{name: X}, {name: y, workers: 40}]}\n")
    assert [error.what.split(":")[0] for error in errors] == ["spark.clusters[0].name", "spark.clusters[1].workers"]


def test_a_variable_within_braces_needs_quotes() -> None:
    (error,) = wrong("ssh: {sudo_password: ${SUDO_PASSWORD}}\n")
    assert error.where == "occam.yaml:3:23"
    assert error.fix == 'within { } and [ ] a variable stands in quotes: "${NAME}"'
    assert wrong("hub: {port: 1\n")[0].fix == ""


def test_secrets_from_the_environment_are_not_shown() -> None:
    with pytest.raises(SpecError) as caught:
        load_text(HEAD + "ssh: {user: '${SECRET}'}\n", environment={"SECRET": "hunter 2"})
    assert "hunter" not in str(caught.value)
    assert "${SECRET}" in caught.value.what
    course = load_text(HEAD + "ssh: {sudo_password: '${SECRET}'}\n", environment={"SECRET": "hunter 2"})
    assert "hunter" not in repr(course)
    assert course.ssh.sudo_password
    assert course.ssh.sudo_password.get_secret_value() == "hunter 2"


@pytest.mark.parametrize(
    ("written", "environment", "meant"),
    [
        ("${NAME}", {"NAME": "x"}, "x"),
        ("a ${NAME} c", {"NAME": "b"}, "a b c"),
        ("${NAME:-d}", {}, "d"),
        ("${NAME:-d}", {"NAME": ""}, "d"),
        ("$$NAME costs $$5", {}, "$NAME costs $5"),
        ("$NAME", {"NAME": "x"}, "$NAME"),
        ("${NAME:-}", {}, ""),
        ("${A:-1}${B:-2}", {"B": "3"}, "13"),
    ],
)
def test_variables(written: str, environment: dict[str, str], meant: str) -> None:
    assert load_text(f"{HEAD}title: {written}\n", environment=environment).title == meant


def test_anchors_merge_keys_and_x_keys() -> None:
    course = load_text(
        HEAD
        + """
x-host: &host {user: ops, port: 2222, x-why: because}
x-unset: ${NOT_SET_AND_NOT_NEEDED}
hosts:
  - {<<: *host, hostname: a}
  - {<<: [{port: 1}, *host], hostname: b}
  - {hostname: c, port: 5, <<: *host, x-note: [1, 2]}
"""
    )
    assert [(host.hostname, host.user, host.port) for host in course.hosts] == [
        ("a", "ops", 2222),
        ("b", "ops", 1),
        ("c", "ops", 5),
    ]


BOMB = "x-a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"x-{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "x-a: &a {}\n" + "".join(
    f"x-{new}: &{new} {{<<: [{','.join([f'*{old}'] * 10)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (BOMB + "hosts: *i\n", "aliases make more than"),
        (MERGE_BOMB + "hub: *i\n", "aliases make more than"),
        ("hosts: &a [*a]\n", "an alias that holds itself"),
        ("hub: &a {<<: *a}\n", "an alias that holds itself"),
        ("hosts: " + "[" * 51 + "]" * 51, "nested deeper than 50"),
        ("hosts: " + "[" * 100_000, "nested deeper than 50"),
        ("title: " + "x" * 1_000_001, "larger than 1,000,000 bytes"),
        ("title: *nothing\n", "undefined alias"),
        ("hub:\n\tport: 1\n", "a tab"),
        ("hub:\n  port: 1\n url: x\n", "the indentation does not fit"),
        ("title: a: b\n", "a second ': ' in one value"),
        ("---\nversion: 1\n", "a second document begins"),
        ("title: 'open\n", "not YAML"),
        ("title: \0\n", "character U+0000 cannot stand in a YAML file"),
        ("? [a, b]\n: c\n", "a key must be a word"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, what: str) -> None:
    assert what in wrong(text)[0].what


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n"])
def test_an_empty_file(text: str) -> None:
    with pytest.raises(SpecError, match="the file is empty"):
        load_text(text)


@pytest.mark.parametrize("text", ["- a\n", "word\n", "42\n"])
def test_a_file_that_is_no_mapping(text: str) -> None:
    with pytest.raises(SpecError, match="a course file is a mapping"):
        load_text(text)


def test_files_and_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "occam.yaml"
    with pytest.raises(SpecError, match="no such file") as caught:
        load(file)
    assert caught.value.exit_code == 2
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load(tmp_path)
    file.write_bytes(b"version: 1\ncourse: \xff\n")
    with pytest.raises(SpecError, match=r"occam.yaml:2:9: not UTF-8 text"):
        load(file)
    file.write_bytes(b"\xef\xbb\xbfversion: 1\r\ncourse: ml\r\n")
    assert load(file).course == "ml"
    assert load("-", stdin=io.BytesIO(HEAD.encode())).course == "ml-2026"
    with pytest.raises(SpecError, match=r"<stdin>:3:1: notebok: unknown key"):
        load("-", stdin=io.BytesIO((HEAD + "notebok: 1\n").encode()))


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").touch()
    (tmp_path / "roster.csv").write_text("username\nanna\n")
    file = tmp_path / "occam.yaml"
    file.write_text(HEAD + "students: roster.csv\nssh: {identity_file: key, known_hosts: ~/key}\n")
    course = load(file)
    assert (course.ssh.identity_file, course.ssh.known_hosts) == (tmp_path / "key", tmp_path / "key")
    assert [one.username for one in course.students] == ["anna"]
    assert roster_path(file) == tmp_path / "roster.csv"
    file.write_text(HEAD + "students: [anna]\n")
    assert roster_path(file) is None


def test_a_roster_that_is_not_there(tmp_path: Path) -> None:
    (error,) = wrong("students: roster.csv\n", folder=tmp_path)
    assert (error.where, error.fix) == ("occam.yaml:3:1", "its first line is: username,name,email,group")
    assert error.what == f"students: {tmp_path}/roster.csv: no such file"


def test_errors_in_the_roster_and_in_the_file_come_together(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text("username,group\nanna,phs\nanna,\na b,\n")
    errors = wrong("students: roster.csv\nquotas: {groups: {phd: {}}}\nfoo: 1\n", folder=tmp_path)
    assert [error.where.removeprefix(f"{tmp_path}/") for error in errors] == [
        "roster.csv:2:6",
        "roster.csv:3:1",
        "roster.csv:4:1",
        "occam.yaml:5:1",
    ]
    assert errors[0].what == "group: phs is not in quotas.groups"
    assert errors[1].what == "username: anna is there twice"


def test_a_term_has_dates_in_order_and_a_time_zone():
    course = load_text('version: 1\ncourse: a\nterm: {start: 2026-10-05, end: "2027-02-12"}\n')
    assert course.term
    assert (str(course.term.start), str(course.term.end), course.term.timezone) == ("2026-10-05", "2027-02-12", "UTC")


@pytest.mark.parametrize(
    ("term", "what"),
    [
        ("{start: 2026-10-05, end: tomorrow}", "term.end: is not a date"),
        ("{start: 2026-10-05, end: 2026-10-04}", "term: end (2026-10-04) is before start (2026-10-05)"),
        (
            "{start: 2026-10-05, end: 2026-10-06, timezone: Europe/Rom}",
            "term.timezone: 'Europe/Rom' is not a time zone",
        ),
    ],
)
def test_a_wrong_term_says_what_is_wrong(term, what):
    with pytest.raises(SpecError) as refused:
        load_text(f"version: 1\ncourse: a\nterm: {term}\n")
    assert what in str(refused.value)


@pytest.mark.parametrize("key", ["", "junk", "other", "encrypted"])
def test_a_certificate_comes_with_its_own_key(key: str, tmp_path: Path) -> None:
    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    for name in ("own", "other"):
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", name, "-out", f"{name}.crt"
        )
    openssl("rsa", "-in", "own", "-aes128", "-passout", "pass:secret", "-out", "encrypted")
    (tmp_path / "junk").write_text("junk")
    text = f"hub: {{tls: {{certificate: own.crt, key: {key or 'own'}}}}}\n"
    if key:
        (error,) = wrong(text, folder=tmp_path)
        assert (error.where, "are no certificate and its key" in error.what) == ("occam.yaml:3:7", True)
    else:
        assert load_text(HEAD + text, folder=tmp_path).hub.tls


def test_data_sets_have_a_source_that_may_be_shown(tmp_path: Path) -> None:
    (tmp_path / "occam.yaml").write_text(
        HEAD
        + """data:
  - {name: higgs, source: uci/HIGGS.csv.gz}
  - {name: trips-2013, source: "https://me:secret@data.example.org/t/trips.csv?key=secret"}
"""
    )
    first, second = load(tmp_path / "occam.yaml").data
    assert first.source == str(tmp_path / "uci" / "HIGGS.csv.gz")
    assert (first.shown, second.shown) == ("HIGGS.csv.gz", "https://data.example.org/t/trips.csv")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("data: [{name: Big Data, source: x.csv}]", "data[0].name", "cannot be a data set's name"),
        ("data: [{name: .incoming, source: x.csv}]", "data[0].name", "cannot be a data set's name"),
        ("data: [{name: x, source: s3://bucket/x}]", "data[0].source", "neither a path nor an address"),
        ("data: [{name: x, source: x.csv, sha256: abc}]", "data[0].sha256", "not a SHA-256"),
        ("data: [{name: x}]", "data[0].source", "is missing"),
        ("data: [{name: x, source: a}, {name: x, source: b}]", "data[1].name", "is there twice"),
    ],
)
def test_a_wrong_data_set_says_what_is_wrong(text: str, where: str, what: str) -> None:
    (error,) = wrong(text)
    assert error.what.startswith(where), error.what
    assert what in error.what
