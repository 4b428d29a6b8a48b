"""Several processes count together: gunicorn, real requests, and what Prometheus would be shown."""

from __future__ import annotations

import http.client
import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.serving import Served, get, gunicorn, own_store, post, quick_database, until
from tests.test_docs import block_with

MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"
ATTACKER, VISITOR, MONITOR = "198.51.100.7", "198.51.100.8", "192.0.2.254"


def scraped(port: int) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample → labels → value, as the page shows it to Prometheus."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/metrics", headers={"X-Forwarded-For": MONITOR})
        text = connection.getresponse().read().decode()
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def figure(port: int, name: str, **labels: str) -> float:
    return scraped(port).get(f"secguard_{name}", {}).get(tuple(sorted(labels.items())), 0.0)


@contextmanager
def site(tmp_path: Path, redis_url: str, **secguard: Any) -> Iterator[tuple[Served, int]]:
    """Two workers, configured by what the page on monitoring says."""
    (counts := tmp_path / "counts").mkdir()
    configuration = tmp_path / "gunicorn.conf.py"
    configuration.write_text(block_with("monitoring.md", "def child_exit").code)
    extra = {
        "SERVED_URLCONF": "tests.end_to_end.metrics_urls",
        "PROMETHEUS_MULTIPROC_DIR": str(counts),
        "GUNICORN_CMD_ARGS": f"--config={configuration}",
    }
    served = Served(tmp_path, quick_database(tmp_path / "db.sqlite3"), redis_url, extra)
    with gunicorn(
        served, hasher="django.contrib.auth.hashers.MD5PasswordHasher", workers=2, threads=4, **secguard
    ) as port:
        yield served, port


def workers_of(counts: Path) -> set[int]:
    return {int(found[1]) for path in counts.iterdir() if (found := re.search(r"counter_(\d+)\.db", path.name))}


def left_behind(counts: Path, name: str, **labels: str) -> float:
    """What all processes that ever were have counted."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(counts))  # type: ignore[no-untyped-call]
    return registry.get_sample_value(f"secguard_{name}_total", labels) or 0.0


@pytest.mark.slow
def test_two_workers_count_together(tmp_path: Path) -> None:
    with own_store(tmp_path / "store") as url, site(tmp_path, url, METRICS="on", SYNC_INTERVAL=0.01) as (served, port):
        until(lambda: [get(port, "/healthz", VISITOR)] and len(workers_of(tmp_path / "counts")) == 2, "both count")
        for number in range(5):
            post(port, "/sync/log_in/", ATTACKER, username=f"user{number}", password="wrong")
        refused = [get(port, "/healthz", ATTACKER) for _ in range(20)]
        assert refused.count(403) > 0
        assert figure(port, "events_total", type="login_failed", outcome="failure") == 5
        assert figure(port, "threats_total", rule="brute_force", severity="critical") == 1
        assert figure(port, "store_seconds_count", outcome="answered") >= 10
        # Each worker holds the one block: that is one block, whoever answers.
        until(lambda: figure(port, "blocks_active") == 1, "the block is in force")
        assert figure(port, "replica_age_seconds") < 5
        assert figure(port, "store_breaker_open") == 0

        workers = workers_of(tmp_path / "counts")
        os.kill(min(workers), signal.SIGTERM)
        until(lambda: not list((tmp_path / "counts").glob(f"gauge_live*_{min(workers)}.db")), "its gauges are gone")
        assert figure(port, "events_total", type="login_failed", outcome="failure") == 5
    # A flood is told in the end; then nothing is missing, neither of the worker that was killed.
    told = sum(each["count"] for each in served.logged("request_blocked"))
    assert left_behind(tmp_path / "counts", "refused_requests", reason="block") == told == refused.count(403)
