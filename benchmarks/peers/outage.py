"""Right logins while the store is away: all candidates at once, each at its own site."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.candidates import CANDIDATES, Candidate
from benchmarks.peers.places import Places
from benchmarks.peers.prepare import OWNER, PASSWORD
from benchmarks.peers.results import Outage
from benchmarks.peers.serving import log_in, running_site
from benchmarks.peers.store import Store, running_store

#: Seconds that a visitor waits for an answer, and those of the time-outs that an operator may set.
PATIENCE, TIMEOUT = 8.0, 0.25
#: What happens, and to whom: the packages' clients as they come, or with time-outs.
CASES = ("killed", "hung", "killed, time-outs set", "hung, time-outs set")
#: No login waits behind another one that hangs.
THREADS = 8


def measure_outages(folder: Path, places: Places, case: str, later: int) -> dict[str, Outage]:
    """→ by candidate. ``places`` lends the databases; the store is another one each time."""
    with ExitStack() as stack:
        store = stack.enter_context(running_store(folder))
        there = Places(places.folder, store)
        ports = {candidate.key: _start(stack, there, candidate, case) for candidate in CANDIDATES}
        _break(store, case)
        with ThreadPoolExecutor(len(ports)) as pool:
            found = pool.map(lambda port: _log_in_again_and_again(port, later), ports.values())
            outages = dict(zip(ports, found, strict=True))
        # Whoever still waits for it can be stopped.
        store.wake()
        return outages


def _start(stack: ExitStack, places: Places, candidate: Candidate, case: str) -> int:
    places.reset(candidate)
    timeout = {"PEERS_STORE_TIMEOUT": str(TIMEOUT)} if "time-outs" in case else {}
    environment = places.environment(candidate, **timeout)
    log = places.folder / f"{candidate.key}.gunicorn"
    port = stack.enter_context(running_site(log, environment, workers=1, threads=THREADS))
    healthy = log_in(port, OWNER, PASSWORD)
    if healthy.status != 302:
        raise RuntimeError(f"{candidate.key}: a right login was answered {healthy.status}")
    return port


def _break(store: Store, case: str) -> None:
    if case.startswith("killed"):
        store.kill()
    else:
        store.hang()


def _log_in_again_and_again(port: int, later: int) -> Outage:
    first = log_in(port, OWNER, PASSWORD, PATIENCE)
    return Outage(first, tuple(log_in(port, OWNER, PASSWORD, PATIENCE) for _ in range(later)))
