"""What a request asks of the store and of the database, and what it leaves there."""

from __future__ import annotations

from benchmarks.peers.candidates import Candidate
from benchmarks.peers.places import Places
from benchmarks.peers.results import Counts
from benchmarks.peers.store import Store
from benchmarks.peers.timing import CHUNKS
from benchmarks.processes import Worker

REQUESTS = 21


def count(places: Places, candidate: Candidate, attackers: int) -> tuple[dict[str, Counts], float, float]:
    """Counts by scenario; bytes that an attacker leaves in the store; and in the database."""
    places.reset(candidate)
    environment = places.environment(candidate)
    worker = Worker(candidate.key, places.folder, "benchmarks.peers.worker", environment=environment)
    try:
        found = {scenario: _count_one(worker, scenario) for scenario in CHUNKS}
        return found, *_leftovers(places.store, worker, attackers)
    finally:
        worker.close()


def _count_one(worker: Worker, scenario: str) -> Counts:
    # So that connections and scripts are there, and what the first of its kind opens is open.
    worker.ask("measure", scenario=scenario, requests=REQUESTS)
    return Counts(**worker.ask("count", scenario=scenario, requests=REQUESTS))


def _leftovers(store: Store, worker: Worker, attackers: int) -> tuple[float, float]:
    before, rows = store.client.info("memory")["used_memory"], worker.ask("database_bytes")
    worker.ask("attack", attackers=attackers)
    after = store.client.info("memory")["used_memory"]
    return (after - before) / attackers, (worker.ask("database_bytes") - rows) / attackers
