"""Attempts of the past through the rules of today, on the log's own clock; nothing live is touched."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from secguard.replay.attempts import Attempt
from secguard.replay.beside import Batches, Beside
from secguard.replay.simulation import Simulation

__all__ = ["Simulation", "run", "run_in_two"]


def run(batches: Iterable[list[Attempt]], simulations: Sequence[Simulation]) -> None:
    """Read once, whatever the number of simulations."""
    with _without_collector():
        for batch in batches:
            for simulation in simulations:
                simulation.feed(batch)


def run_in_two(batches: Batches, again: Batches, simulations: Sequence[Simulation]) -> None:
    """The same in two processes, of which the second reads ``again``. Raises BesideError if that one fails."""
    with _without_collector(), Beside(again, simulations) as beside:
        for batch in batches():
            for simulation in simulations:
                simulation.count(batch)
        beside.finish()


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
