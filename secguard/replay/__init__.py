"""Attempts of the past through the rules of today, on the log's own clock; nothing live is touched."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from secguard.replay.attempts import Attempt
from secguard.replay.simulation import Simulation

__all__ = ["Simulation", "run"]


def run(batches: Iterable[list[Attempt]], simulations: Iterable[Simulation]) -> None:
    """Read once, whatever the number of simulations."""
    found = list(simulations)
    with _without_collector():
        for batch in batches:
            for simulation in found:
                simulation.feed(batch)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Nothing here refers to itself, so that nothing is left for the collector, which would look through all records
    again and again: a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
