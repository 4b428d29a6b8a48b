"""How many passwords are really checked when many guesses come at the same moment, from one address at one account."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread

from benchmarks.peers.candidates import LIMIT, Candidate
from benchmarks.peers.places import Places
from benchmarks.peers.prepare import TARGET
from benchmarks.peers.serving import log_in, running_site

GUESSES = 100
IN_TURN = 4 * LIMIT
WORKERS, THREADS = 4, 30


def checks_in_turn(places: Places, candidate: Candidate) -> int:
    """Of twenty guesses, one after the other."""
    return _checks(places, candidate, at_once=False)


def checks_at_once(places: Places, candidate: Candidate) -> int:
    """Of a hundred."""
    return _checks(places, candidate, at_once=True)


def _checks(places: Places, candidate: Candidate, *, at_once: bool) -> int:
    places.reset(candidate)
    counter = places.folder / "password-checks"
    counter.unlink(missing_ok=True)
    environment = places.environment(candidate, PEERS_SLOW="1", SAMPLE_CHECK_COUNTER=str(counter))
    workers = WORKERS if at_once else 1
    with running_site(places.folder / f"{candidate.key}.gunicorn", environment, workers, THREADS) as port:
        if at_once:
            _guess_at_once(port)
        else:
            for number in range(IN_TURN):
                log_in(port, TARGET, f"wrong {number}")
        return _size(counter)


def times_away(places: Places, candidate: Candidate) -> int:
    """How often a process of secguard took the store for away since the candidate's log began."""
    log = places.folder / f"{candidate.key}.log"
    return log.read_text().count('"event_type": "degraded"') if log.exists() else 0


def _guess_at_once(port: int) -> None:
    barrier = Barrier(GUESSES)

    def guess(number: int) -> None:
        barrier.wait()
        log_in(port, TARGET, f"wrong {number}")

    threads = [Thread(target=guess, args=(number,)) for number in range(GUESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _size(counter: Path) -> int:
    return counter.stat().st_size if counter.exists() else 0
