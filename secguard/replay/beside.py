"""What would have been refused, worked out by a second process beside the one that counts what happened: neither needs
to know of the other, and each reads the logs for itself."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any

from secguard.replay.attempts import Attempt
from secguard.replay.guard import Verdicts
from secguard.replay.simulation import Simulation

#: Bytes. Less is done before a second process has begun.
_WORTH_IT = 1 << 20


class BesideError(Exception):
    """The second process failed."""


Batches = Callable[[], Iterable[list[Attempt]]]


def is_worth_it(files: Sequence[str]) -> bool:
    """Are there two processors, and logs that can be read twice? A process with threads is not doubled."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2 or threading.active_count() > 1:
        return False
    return all(Path(name).is_file() for name in files) and sum(Path(name).stat().st_size for name in files) >= _WORTH_IT


class Beside:
    """Begins at once to work out what ``simulations`` would have refused, of batches that it reads for itself.

    A context manager: whoever leaves it early ends the process, too.
    """

    def __init__(self, batches: Batches, simulations: Sequence[Simulation]) -> None:
        self._simulations = simulations
        forking = get_context("fork")
        self._results, sender = forking.Pipe(duplex=False)
        self._process = forking.Process(target=_work, args=(batches, simulations, sender), daemon=True)
        self._process.start()
        sender.close()

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._results.close()

    def finish(self) -> None:
        """Wait for the verdicts, and give each simulation its own. Raises BesideError if the process failed."""
        try:
            found: list[Verdicts] | str = self._results.recv()
        except EOFError:
            self._process.join()
            found = f"it ended with {self._process.exitcode}"
        if isinstance(found, str):
            raise BesideError(f"The process that works out what would have been refused failed: {found}.")
        for simulation, verdicts in zip(self._simulations, found, strict=True):
            simulation.verdicts = verdicts


def _work(batches: Batches, simulations: Sequence[Simulation], sender: Any) -> None:
    found: list[Verdicts] | str
    try:
        for batch in batches():
            for simulation in simulations:
                simulation.enforce(batch)
        found = [simulation.verdicts for simulation in simulations]
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    # Nobody listens any more if the other one failed.
    with suppress(BrokenPipeError):
        sender.send(found)
