"""For all tests: which run side by side in `make test`, and how long each part took."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import image_build

PARTS = ("rules", "unit", "engine", "sandbox", "gpu")
TOGETHER = {
    "gateway": ["engine/test_applications.py", "engine/test_gateway.py", "engine/test_gateway_gpus.py"],
    "journey": [
        *("sandbox/test_browser.py", "sandbox/test_clusters_page.py", "sandbox/test_commands.py"),
        *("sandbox/test_course_cluster.py", "sandbox/test_course_spark.py", "sandbox/test_data.py"),
        *("sandbox/test_faults.py", "sandbox/test_isolation.py", "sandbox/test_journey.py"),
    ],
}
"""Files that share hosts. Every other one has names of its own, and may run beside any other."""
LABS, FAULTS, TRAINING = "sandbox/test_labs.py", "engine/test_gateway_faults.py", "engine/test_training.py"
FIRST = ("gateway", LABS, "quick", FAULTS, "journey", TRAINING)
"""What begins, of what takes longest; the labs have the images built while the others do without."""
_seconds: dict[str, float] = defaultdict(float)
_count: Counter[str] = Counter()
_left: Counter[str] = Counter()


def file_of(nodeid: str) -> str:
    """`unit/spec/test_load.py` for a test of it."""
    return nodeid.partition("::")[0].removeprefix("tests/")


def part_of(nodeid: str) -> str:
    """`unit` for a test of tests/unit/spec/test_load.py."""
    return file_of(nodeid).partition("/")[0]


def group_of(nodeid: str) -> str:
    """What runs in one process, one after the other."""
    if part_of(nodeid) in ("rules", "unit"):
        return "quick"
    file = file_of(nodeid)
    return next((group for group, files in TOGETHER.items() if file in files), file)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Quick parts first, in one process; in several, what takes longest."""
    order: tuple[str, ...] = FIRST if hasattr(config, "workerinput") else ("quick",)
    for item in items:
        if (part := part_of(item.nodeid)) in ("engine", "sandbox"):
            item.add_marker(part)
        if "spark_hosts" in getattr(item, "fixturenames", ()) and group_of(item.nodeid) != "journey":
            raise pytest.UsageError(f"{file_of(item.nodeid)} shares the journey's hosts: name it in TOGETHER")
    items.sort(key=lambda item: order.index(group) if (group := group_of(item.nodeid)) in order else len(order))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One group after the other for each process."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # it would put what has most tests first, not what takes longest
    return Groups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The images of a course come first, but for what needs no engine, or light images only."""
    if part_of(item.nodeid) in ("engine", "sandbox") and not item.get_closest_marker("light"):
        image_build.course()


@pytest.fixture
def browser(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A browser without a screen; what it shows is printed at the end when a test failed."""
    from .browser import chromium

    driver = chromium(tmp_path)
    yield driver
    if request.session.testsfailed:
        print("the page at the end:", driver.current_url, driver.find_element("tag name", "body").text[:3000])
    driver.quit()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(ids: list[str]) -> None:
    """How many tests each file has to run; every process tells the same."""
    _left.clear()
    _left.update(file_of(one) for one in ids)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Says at once why a test failed, and what a file took: a run that is cut off has told what it saw."""
    if report.failed:
        _tell(f"{report.nodeid} failed ({report.when}, {report.duration:.0f} s)\n{report.longreprtext[-3000:]}")
    part, file = part_of(report.nodeid), file_of(report.nodeid)
    _count[part] += report.when == "call"
    for one in (part, file):
        _seconds[one] += report.duration
    if report.when == "teardown" and file in _left:
        _left[file] -= 1
        if not _left[file] and group_of(report.nodeid) != "quick":
            _tell(f"{file}: {_seconds[file]:.0f} s")


def _tell(text: str) -> None:
    print(f"\n{time.strftime('%H:%M:%S', time.gmtime())} {text}", file=sys.__stdout__, flush=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if len(_count) < 2:
        return
    terminalreporter.section("how long each part took, in seconds of all processes together")
    for part in sorted(_count, key=PARTS.index):
        terminalreporter.write_line(f"{part:8} {_count[part]:5} tests {_seconds[part]:8.1f} s")
