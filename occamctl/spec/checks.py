"""What one section alone cannot know: names given twice, words that refer to nothing, demands that contradict."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from occamctl.spec import names
from occamctl.spec.complaints import called, find
from occamctl.spec.course import Course, Host, Student
from occamctl.spec.nearest import nearest
from occamctl.spec.tree import Node, Place, Problems, shown

_ONLY_A_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-)?\}")


def before(root: Node, problems: Problems) -> None:
    """Checks that need the text as it was written."""
    hosts = (root.entries or {}).get("hosts")
    numbered = range(len(hosts.items)) if hosts and hosts.items else range(0)
    for section in (("ssh",), *(("hosts", number) for number in numbered)):
        node = (find(root, section).entries or {}).get("sudo_password")
        if node and node.text and not _ONLY_A_VARIABLE.fullmatch(node.raw):
            what = f"{called(root, section)}.sudo_password: a password must not stand in the file"
            problems.add(node.shown, what, "write ${SUDO_PASSWORD} and export it")


def across(course: Course, root: Node, problems: Problems) -> None:
    """Checks between sections; `root` is the tree that `course` was made of."""
    _Checks(course, root, problems).all()


class _Checks:
    def __init__(self, course: Course, root: Node, problems: Problems) -> None:
        self.course, self.root, self.problems = course, root, problems
        self._gpus: dict[str, tuple[int, int]] = {}

    def all(self) -> None:
        self.hosts()
        self.people()
        self.groups()
        self.users()
        self.clusters()
        self.data()
        self.material()
        self.files()

    def place(self, *path: str | int) -> Place:
        return find(self.root, path).shown

    def wrong(self, path: Sequence[str | int], what: str, fix: str = "") -> None:
        name = called(self.root, path)
        self.problems.add(self.place(*path), f"{name}: {what}" if name else what, fix)

    def hosts(self) -> None:
        seen: dict[str, int] = {}
        manager: int | None = None
        for number, host in enumerate(self.course.hosts):
            first = seen.setdefault(host.hostname.lower(), number)
            if first != number:
                self.wrong(
                    ("hosts", number),
                    f"{host.hostname} is there twice",
                    f"first in line {self.place('hosts', first).line}",
                )
            self.gpus(number, host)
            if host.manager and manager is not None:
                name = self.course.hosts[manager].hostname
                self.wrong(("hosts", number, "manager"), f"{name} is the manager already", "one host runs the hub")
            elif host.manager:
                manager = number

    def gpus(self, number: int, host: Host) -> None:
        """A GPU is in one host, once."""
        for index, uuid in enumerate(host.gpus if isinstance(host.gpus, list) else ()):
            first = self._gpus.setdefault(uuid.lower(), (number, index))
            if first != (number, index):
                line = self.place("hosts", first[0], "gpus", first[1]).line
                self.wrong(("hosts", number, "gpus", index), f"{uuid} is there twice", f"first in line {line}")

    def _listed(self) -> Iterator[tuple[tuple[str | int, ...], Student]]:
        for section, people in (("instructors", self.course.instructors), ("students", self.course.students)):
            for number, person in enumerate(people):
                yield (section, number, "username"), person

    def people(self) -> None:
        """Nobody twice; JupyterHub takes Anna and anna for one person, and so does a file system or two."""
        seen: dict[str, tuple[str, Place]] = {}
        slugs: dict[str, str] = {}
        for path, person in self._listed():
            place = self.place(*path)
            name, first = seen.setdefault(person.username.lower(), (person.username, place))
            twin = slugs.setdefault(names.slug(person.username), person.username)
            if first is not place:
                same = "is there twice" if name == person.username else f"and {name} differ in capitals only"
                self.wrong(path, f"{person.username} {same}", f"the first is at {first}")
            elif twin != person.username:
                self.wrong(path, f"{person.username} and {twin} would share the name {names.slug(twin)}", "rename one")

    def groups(self) -> None:
        """A student's group must have a quota, when any group has one."""
        known = sorted(self.course.quotas.groups)
        for section, people in (("instructors", self.course.instructors), ("students", self.course.students)):
            for number, person in enumerate(people):
                if known and person.group and person.group not in known:
                    near = nearest(person.group, known)
                    add = (
                        f"add quotas.groups.{person.group}"
                        if person.group.isidentifier()
                        else "add it to quotas.groups"
                    )
                    fix = f"did you mean '{near}'?" if near else f"{add}, or leave the group empty"
                    self.wrong((section, number, "group"), f"{shown(person.group)} is not in quotas.groups", fix)

    def users(self) -> None:
        """A quota of one person needs that person."""
        people = sorted(person.username for person in self.course.people)
        for user in self.course.quotas.users:
            if user not in people:
                near = nearest(user, people)
                fix = f"did you mean '{near}'?" if near else "add the person to students, or take the quota away"
                self.wrong(("quotas", "users", user), f"{shown(user)} is not in the course", fix)

    def clusters(self) -> None:
        quota, held = self.course.quotas.instructor.workers, 0
        seen: set[str] = set()
        for number, cluster in enumerate(self.course.spark.clusters):
            path = ("spark", "clusters", number)
            if cluster.name in seen:
                self.wrong((*path, "name"), f"{cluster.name} is there twice")
            seen.add(cluster.name)
            held += cluster.workers
            if held > quota:
                so_far = f"{held} workers" if held == cluster.workers else f"with those before {held} workers"
                self.wrong(
                    (*path, "workers"),
                    f"{so_far}, and quotas.instructor.workers allows {quota}",
                    f"raise quotas.instructor.workers to {held}, or ask for fewer",
                )

    def data(self) -> None:
        seen: set[str] = set()
        for number, one in enumerate(self.course.data):
            if one.name in seen:
                self.wrong(("data", number, "name"), f"{one.name} is there twice")
            seen.add(one.name)

    def material(self) -> None:
        """Every entry has a folder of its own; what is in it is looked at in actions/material.py."""
        seen: dict[tuple[str, ...], int] = {}
        for number, one in enumerate(self.course.material):
            parts = tuple(one.into.split("/"))
            for other, first in seen.items():
                if other[: len(parts)] == parts[: len(other)]:
                    line = self.place("material", first).line
                    that = f"material[{first}] ({'/'.join(other)}, line {line})"
                    what = f"comes into the same folder as {that}" if other == parts else f"and {that} overlap"
                    what = f"{one.into} {what}"
                    self.wrong(("material", number, "into"), what, "give each entry a folder of its own")
                    break
            seen.setdefault(parts, number)
            if one.folder is not None and not os.path.isdir(one.folder):
                self.wrong(("material", number, "folder"), f"{one.folder} is not a folder here")

    def files(self) -> None:
        """Files of this machine that the course needs."""
        ssh, tls = self.course.ssh, self.course.hub.tls
        named: list[tuple[tuple[str | int, ...], Path | None]] = [
            (("ssh", "identity_file"), ssh.identity_file),
            (("ssh", "known_hosts"), ssh.known_hosts),
            *(
                (("hosts", number, "identity_file"), host.identity_file)
                for number, host in enumerate(self.course.hosts)
            ),
            (("hub", "tls", "certificate"), tls.certificate if tls else None),
            (("hub", "tls", "key"), tls.key if tls else None),
        ]
        for path, file in named:
            if file is not None and not os.path.isfile(file):
                self.wrong(path, f"{file} is not a file here")
        if tls and os.path.isfile(tls.certificate) and os.path.isfile(tls.key):
            self.pair(tls.certificate, tls.key)

    def pair(self, certificate: Path, key: Path) -> None:
        """The proxy would end again and again with files that it cannot serve HTTPS with."""
        import ssl  # for those who have a certificate

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ValueError):  # an SSLError is an OSError; OpenSSL's own words help nobody
            self.wrong(
                ("hub", "tls"),
                f"{certificate} and {key} are no certificate and its key",
                "two PEM files that belong together, the key without a password",
            )
