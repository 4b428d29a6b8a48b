"""The table of what was measured, at the end of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.serving import quick_database
from tests.faults import report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if report.rows:
        terminalreporter.section("faults: what users saw, and what it cost")
        for line in report.lines(report.rows):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the accounts of the sample site, whose passwords take no time to check."""
    return quick_database(tmp_path_factory.mktemp("database") / "db.sqlite3")
