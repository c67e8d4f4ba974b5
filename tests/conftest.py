"""For all tests: the order of the parts, quick ones first, and how long each took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PARTS = ("rules", "unit", "engine", "sandbox")
HERE = Path(__file__).parent
_seconds: dict[str, float] = defaultdict(float)
_count: Counter[str] = Counter()


def part_of(path: str) -> str:
    """`unit` for tests/unit/spec/test_load.py."""
    parts = Path(path).parts
    return next((part for part in parts if part in PARTS), "other")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick parts first; what is in tests/engine and tests/sandbox needs an engine."""
    for item in items:
        part = part_of(str(item.path.relative_to(HERE)))
        if part in ("engine", "sandbox"):
            item.add_marker(part)
    order = {part: number for number, part in enumerate(PARTS)}
    items.sort(key=lambda item: order.get(part_of(str(item.path.relative_to(HERE))), len(PARTS)))


@pytest.fixture
def browser(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A browser without a screen; what it shows is printed at the end when a test failed."""
    from .browser import chromium

    driver = chromium(tmp_path)
    yield driver
    if request.session.testsfailed:
        print("the page at the end:", driver.current_url, driver.find_element("tag name", "body").text[:3000])
    driver.quit()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    part = part_of(report.nodeid)
    _seconds[part] += report.duration
    _count[part] += report.when == "call"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if len(_seconds) < 2:
        return
    terminalreporter.section("how long each part took")
    for part in sorted(_seconds, key=lambda part: (*PARTS, part).index(part)):
        terminalreporter.write_line(f"{part:8} {_count[part]:5} tests {_seconds[part]:8.1f} s")
