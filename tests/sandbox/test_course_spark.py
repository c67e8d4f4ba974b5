"""A student's Spark in a whole course: executors of two kinds, a library from a repository, its page by `spark ui`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from occamctl.actions.student import Kernel, Student

from .conftest import STUDENTS, Run
from .test_commands import page

pytestmark = pytest.mark.sandbox

BEGIN = """
import json, os, zipfile, occam
# A repository as Maven keeps one: Spark looks into it before it asks the one in the internet.
at = os.path.expanduser("~/.m2/repository/org/course/words/1.0")
os.makedirs(at, exist_ok=True)
with zipfile.ZipFile(f"{at}/words-1.0.jar", "w") as jar:
    jar.writestr("words.txt", "from a library")
with open(f"{at}/words-1.0.pom", "w") as pom:
    pom.write("<project><modelVersion>4.0.0</modelVersion><groupId>org.course</groupId>"
              "<artifactId>words</artifactId><version>1.0</version></project>")
spark = occam.spark(adaptive=(1, 2), packages=["org.course:words:1.0"], memory="1G")
sc = spark.sparkContext
"""
TWO_KINDS = """
from pyspark.resource import ExecutorResourceRequests, ResourceProfileBuilder, TaskResourceRequests
wide = (ResourceProfileBuilder().require(ExecutorResourceRequests().cores(2).memory("512m").memoryOverhead("512m"))
        .require(TaskResourceRequests().cpus(2)).build)
def where(numbers):
    from pyspark import TaskContext
    here = TaskContext.get()
    yield [os.environ["OCCAM_RESOURCE_PROFILE"], os.environ["OCCAM_CORES"], here.cpus(), sum(numbers)]
plain = sc.parallelize(range(10), 1).mapPartitions(where).collect()
large = sc.parallelize(range(10), 1).withResources(wide).mapPartitions(where).collect()
print(json.dumps([plain, large, wide.id]))
"""
LIBRARY = """
loader = sc._jvm.Thread.currentThread().getContextClassLoader()
print(loader.getResource("words.txt") is not None, [one for one in sc._jsc.sc().listJars().mkString().split(",")])
"""


@pytest.fixture(scope="module")
def kernel(url: str, passwords: dict[str, str]) -> Iterator[Kernel]:
    student = Student(url, STUDENTS[0])
    student.sign_in(passwords[student.username])
    student.start_server()
    with student.kernel() as made:
        began = made.run(BEGIN, seconds=200)
        assert not began.error, began.error
        yield made
        made.run("spark.stop()", seconds=60)


def test_one_session_has_executors_of_two_kinds(kernel: Kernel, occamctl: Run) -> None:
    ran = kernel.run(TWO_KINDS, seconds=200)
    assert not ran.error, ran.error
    plain, large, profile = json.loads(ran.text)
    assert plain == [["0", "1", 1, 45]]
    assert large == [[str(profile), "2", 2, 45]], "a task of two cores ran on a worker that was asked for it"
    (mine,) = json.loads(occamctl("spark", "list", "-u", STUDENTS[0], "-o", "json"))
    assert mine["granted"][str(profile)] == 1, mine


def test_a_library_of_a_repository_is_there(kernel: Kernel) -> None:
    ran = kernel.run(LIBRARY, seconds=60)
    assert not ran.error, ran.error
    assert ran.text.startswith("True")
    assert "org.course_words-1.0.jar" in ran.text


def test_an_instructor_opens_no_page_of_a_student_and_the_operator_does(kernel: Kernel, course: Path) -> None:
    with page(course, "-u", STUDENTS[0], "--cluster", "lab") as address, requests.Session() as browser:
        seen = browser.get(address, timeout=20)
        assert "Spark Jobs" in seen.text
        assert "collect at" in seen.text
