"""For all tests: the order of the parts, quick ones first, and how long each took."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

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
