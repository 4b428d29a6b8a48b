"""Added time: a chunk of a candidate stands between two of bare Django, whose mean is subtracted.

What drifts more slowly than a chunk takes, on a machine that others use too, cancels out.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

from benchmarks.peers.candidates import AGAIN, BARE, CANDIDATES
from benchmarks.peers.places import Places
from benchmarks.peers.results import Interval
from benchmarks.processes import Worker

#: Scenario → requests in a chunk.
CHUNKS = {"clean": 60, "failed": 20, "repeated": 21, "right": 12, "refused": 20}
#: What an answer has to be, or something else was measured. Who refuses answers as he likes.
EXPECTED = {"clean": {"200"}, "failed": {"200"}, "repeated": {"200"}, "right": {"302"}}
RESAMPLES = 2_000


class Times:
    """µs of all chunks, and the answers. Keys are a candidate and a scenario."""

    def __init__(self) -> None:
        self.bare: defaultdict[str, list[float]] = defaultdict(list)
        self.added: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.statuses: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def intervals(self, key: str) -> dict[str, Interval]:
        return {scenario: interval(self.added[key, scenario]) for scenario in CHUNKS}

    def answers(self, key: str) -> dict[str, str]:
        return {scenario: "/".join(sorted(self.statuses[key, scenario])) for scenario in CHUNKS}

    @property
    def floor(self) -> dict[str, float]:
        return {scenario: median(chunks) for scenario, chunks in self.bare.items()}


def measure_times(places: Places, generations: int, rounds: int) -> Times:
    """Each generation is a new set of processes: no two of them lie alike in memory."""
    times = Times()
    others = [*(candidate.key for candidate in CANDIDATES if candidate != BARE), AGAIN.key]
    for _ in range(generations):
        with running_workers(places) as workers:
            for turn in range(rounds):
                # Nobody always follows the same other one.
                shift = turn % len(others)
                for scenario in CHUNKS:
                    _measure_round(times, workers, scenario, others[shift:] + others[:shift])
    return times


def _measure_round(times: Times, workers: dict[str, Worker], scenario: str, others: Sequence[str]) -> None:
    before = _chunk(times, workers, scenario, BARE.key)
    for key in others:
        cost = _chunk(times, workers, scenario, key)
        after = _chunk(times, workers, scenario, BARE.key)
        times.added[key, scenario].append(cost - (before + after) / 2)
        times.bare[scenario].append(after)
        before = after


def _chunk(times: Times, workers: dict[str, Worker], scenario: str, key: str) -> float:
    answer = workers[key].ask("measure", scenario=scenario, requests=CHUNKS[scenario])
    if not answer["statuses"].keys() <= EXPECTED.get(scenario, answer["statuses"].keys()):
        raise RuntimeError(f"{key}, {scenario}: answered {answer['statuses']}")
    times.statuses[key, scenario].update(answer["statuses"])
    times_taken: list[int] = answer["ns"]
    return median(times_taken) / 1000


@contextmanager
def running_workers(places: Places) -> Iterator[dict[str, Worker]]:
    """A fresh process of every candidate, each of which has answered once."""
    with ExitStack() as stack:
        workers = {}
        for candidate in (*CANDIDATES, AGAIN):
            places.reset(candidate)
            environment = places.environment(candidate)
            worker = Worker(candidate.key, places.folder, "benchmarks.peers.worker", environment=environment)
            stack.callback(worker.close)
            workers[candidate.key] = worker
        for worker in workers.values():
            for scenario, requests in CHUNKS.items():
                worker.ask("measure", scenario=scenario, requests=requests)
        yield workers


def interval(differences: Sequence[float]) -> Interval:
    """The median of paired differences; its 95 % by the bootstrap (percentiles of 2,000 resamples)."""
    chance = random.Random(1)
    found = sorted(median(chance.choices(differences, k=len(differences))) for _ in range(RESAMPLES))
    return Interval(median(differences), found[RESAMPLES // 40], found[-RESAMPLES // 40 - 1])
