"""The course's own Spark: an instructor starts it, students join it, and nobody else comes in."""

from __future__ import annotations

import json

import pytest

from occamctl.actions.student import Student

from .conftest import STUDENTS

pytestmark = pytest.mark.sandbox

JOIN = """
import occam
from pyspark.sql import functions as F
spark = occam.spark("course")
spark.range(100).createOrReplaceTempView({view!r})
print(spark.range(1000).select(F.sum("id")).first()[0], spark, sorted(one.name for one in spark.catalog.listTables()))
"""
KNOCK = """
import socket, occam
host = occam.gateway.here().ask("POST", "clusters/main/join", owner="course")["host"]
def knock(port, words):
    try:
        with socket.create_connection((host, port), 3) as there:
            there.sendall(words)
            return there.recv(3)
    except OSError as error:
        return type(error).__name__
ticket = occam.gateway.here().ask("POST", "clusters/main/join", owner="course")["ticket"]
print(knock(15003, b"let me in\\n"), knock(15003, ticket.encode() + b"\\n"), knock(15003, ticket.encode() + b"\\n"))
print(knock(15002, b"x"), knock(7078, b"x"), knock(4040, b"x"))
"""


def test_students_join_the_courses_cluster(occamctl, url, passwords):
    occamctl("spark", "scale", "0")  # ready when its driver has called, and then it grows without a new one
    occamctl("spark", "scale", "1")
    (main,) = json.loads(occamctl("spark", "list", "-u", "course", "-o", "json"))
    assert (main["state"], main["message"], main["registered"]) == ("running", "", 1)
    people = [Student(url, name) for name in STUDENTS]
    for student in people:
        student.sign_in(passwords[student.username])
        student.start_server()
    with people[0].kernel() as one, people[1].kernel() as two:
        first = one.run(JOIN.format(view="hers"), seconds=180)
        assert not first.error, first.error
        assert "499500 <Spark 4" in first.text
        assert "on the course's cluster main> ['hers']" in first.text
        second = two.run(JOIN.format(view="his"), seconds=180)
        assert "['his']" in second.text, second.error  # a session of one's own
        knocked = two.run(KNOCK, seconds=60)
        assert knocked.text.splitlines()[0] == "b'' b'in\\n' b''", knocked.error  # no ticket, a ticket, a used ticket
        assert set(knocked.text.splitlines()[1].split()) <= {"TimeoutError", "ConnectionRefusedError"}
        again = one.run("spark.stop(); print(spark); print(occam.spark('course').range(3).count())", seconds=60)
        assert again.text.split("\n")[:2] == ["<Spark session, stopped>", "3"], again.error
    occamctl("spark", "delete", "-y")
    with people[0].kernel() as one:
        gone = one.run("import occam; occam.spark('course')", seconds=60)
        assert "there is no cluster 'main'" in gone.error
