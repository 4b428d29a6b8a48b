"""Clocks that are wrong, in real processes: decisions are unchanged, and nothing lasts for ever."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.serving import Served, until
from tests.faults.clocks import needs_a_server_that_can_be_fooled, with_the_clock
from tests.faults.store import tortured
from tests.faults.traffic import LIMIT, one_process

ATTACKER = "198.51.100.1"
DAY = 86_400_000  # milliseconds: nothing that is kept is kept for longer


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_workers_whose_clocks_differ_count_together(zone: str, tmp_path: Path, database: Path) -> None:
    with tortured(tmp_path / "store") as it, ExitStack() as stack:
        sites = []
        for name, offset in (("late", "-1h"), ("early", "+1h")):
            (tmp_path / name).mkdir()
            # Each has a database of its own, since SQLite's clock is that of the process.
            own = Path(shutil.copy(database, tmp_path / name))
            served = Served(tmp_path / name, own, it.url, {**with_the_clock(FAKETIME=offset), "TZ": zone})
            sites.append((stack.enter_context(one_process("gunicorn", served, STORE_TIMEOUT=30)), served))
        (late, late_served), (early, early_served) = sites
        assert late.guess(ATTACKER, 3) == [200] * 3
        assert early.guess(ATTACKER, 2) == [200] * 2
        assert (early.page(ATTACKER), early.guess(ATTACKER, 1), late.guess(ATTACKER, 1)) == (403, [403], [403])
        assert late.honest("192.0.2", 1)[0] == early.honest("192.0.2", 1)[0] == [302]
        (threat,) = early_served.logged("suspicious_activity")
        assert (threat["rule"], threat["count"]) == ("brute_force", LIMIT)
        assert not late_served.logged("degraded")


class TestAStoreWhoseClockSteps:
    @pytest.mark.parametrize("step", ["-1h", "+10m", "-30d"])
    def test_keeps_its_limits_and_lets_everything_end(self, step: str, tmp_path: Path, database: Path) -> None:
        needs_a_server_that_can_be_fooled()
        clock = tmp_path / "clock"
        clock.write_text("+0")
        fake = with_the_clock(FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1")
        with tortured(tmp_path / "store", environment=fake) as it:
            served = Served(tmp_path, Path(shutil.copy(database, tmp_path)), it.url)
            with one_process("gunicorn", served, STORE_TIMEOUT=30) as traffic:
                assert traffic.guess(ATTACKER, 3) == [200] * 3
                before = it.server.client.time()[0]
                clock.write_text(step)
                until(lambda: abs(it.server.client.time()[0] - before) > 300, "the store's clock has stepped")
                assert traffic.guess(ATTACKER, 3) == [200, 200, 403]
                assert traffic.guess("198.51.100.2", LIMIT + 1) == [200] * LIMIT + [403]
                assert traffic.honest("192.0.2", 1)[0] == [302]
                self.assert_that_all_ends(it.server.client)
            assert not served.logged("degraded")

    def assert_that_all_ends(self, client: object) -> None:
        found = {key: client.pttl(key) for key in client.scan_iter("sg:*")}  # type: ignore[attr-defined]
        assert found
        assert all(0 < left <= DAY for left in found.values()), found
