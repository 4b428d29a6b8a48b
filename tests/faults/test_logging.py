"""The log's disk full, its handler and its receivers raising: requests are unaffected, and the failure is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.serving import Served
from tests.faults.report import Row, rows
from tests.faults.store import tortured
from tests.faults.traffic import LIMIT, SERVERS, one_process

FAULTS = {
    "log disk full": {"SERVED_LOG": "/dev/full"},
    "log handler raises": {"SERVED_BROKEN": "handler"},
    "receivers raise": {"SERVED_BROKEN": "receivers"},
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_of_the_log_changes_no_answer_and_is_told(
    fault: str, server: str, tmp_path: Path, database: Path
) -> None:
    row = Row(fault, server)
    with tortured(tmp_path / "store") as it:
        served = Served(tmp_path, Path(shutil.copy(database, tmp_path)), it.url, FAULTS[fault])
        with one_process(server, served, STORE_TIMEOUT=30) as traffic:
            answers, row.during = traffic.honest("192.0.2", 12)
            assert answers == [302] * 12
            assert traffic.guess("198.51.100.1", LIMIT + 1) == [200] * LIMIT + [403]
            assert [traffic.page("198.51.100.1"), traffic.page("192.0.2.1")] == [403, 200]
            for _ in range(200):
                assert traffic.denied("198.51.100.7") == 403
            row.statuses = traffic.statuses
    rows.append(row)
    told = (tmp_path / "server.log").read_text()
    assert {"log disk full": "No space left", "log handler raises": "broken", "receivers raise": "broken"}[
        fault
    ] in told
    if fault != "log disk full":
        # Told, and told once a minute: not with each event.
        assert 1 <= told.count("Traceback") <= 20
