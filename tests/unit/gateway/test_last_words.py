"""What is told of a service's end: the words, not the calls of a stack trace."""

from __future__ import annotations

from occamctl.gateway.last_words import telling

# spark-submit of Spark 4.3.0 with spark.executor.instances 0
SPARK = """\
WARNING: Using incubator modules: jdk.incubator.vector
Exception in thread "main" org.apache.spark.SparkException: Number of executors must be a positive number
\tat org.apache.spark.deploy.SparkSubmitArguments.error(SparkSubmitArguments.scala:670)
\tat org.apache.spark.deploy.SparkSubmitArguments.<init>(SparkSubmitArguments.scala:105)
\tat org.apache.spark.deploy.SparkSubmit$$anon$2$$anon$3.<init>(SparkSubmit.scala:1140)
\tat java.base/java.util.Properties.load0(Properties.java:459)
\tat org.apache.spark.deploy.SparkSubmit.main(SparkSubmit.scala)
Caused by: java.lang.OutOfMemoryError: Java heap space
\t... 7 more

"""


def test_a_stack_trace_is_told_by_its_words() -> None:
    assert telling(SPARK.split("\n")) == [
        "WARNING: Using incubator modules: jdk.incubator.vector",
        'Exception in thread "main" org.apache.spark.SparkException: Number of executors must be a positive number',
        "Caused by: java.lang.OutOfMemoryError: Java heap space",
    ]


def test_only_the_last_lines_are_told() -> None:
    assert telling([f"line {number}" for number in range(9)]) == [f"line {number}" for number in range(4, 9)]
    assert telling(["at the end it failed (badly)", "  "]) == ["at the end it failed (badly)"]
