"""Two processes say what one says."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from secguard.conf import get_settings
from secguard.context import get_resolver
from secguard.detection import DEFAULT_RULES
from secguard.replay import Simulation, run, run_in_two
from secguard.replay.attempts import Attempt, People, attempt
from secguard.replay.beside import BesideError, is_worth_it
from tests.replay.test_simulation import SECOND, START


def batches() -> Iterator[list[Attempt]]:
    dice, people = random.Random(5), People(get_resolver())
    for batch in range(6):
        yield [
            attempt(
                START + (batch * 1_000 + each) * SECOND // 2,
                dice.random() < 0.9,
                people.client(f"192.0.2.{dice.randrange(1, 40)}"),
                people.account(f"user{dice.randrange(60)}"),
            )
            for each in range(1_000)
        ]


def simulations() -> list[Simulation]:
    return [Simulation(rules, get_settings()) for rules in (DEFAULT_RULES, DEFAULT_RULES[:1])]


def test_two_processes_find_what_one_finds() -> None:
    alone, together = simulations(), simulations()
    run(batches(), alone)
    run_in_two(batches, batches, together)
    assert alone[0].verdicts.blocks
    assert alone[0].verdicts.costs
    for one, other in zip(alone, together, strict=True):
        assert other.threats == one.threats
        assert other.verdicts == one.verdicts


def broken() -> Iterator[list[Attempt]]:
    yield from batches()
    raise ValueError("no such thing")


def killed() -> Iterator[list[Attempt]]:
    yield next(batches())
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_the_second_process_dies_of_is_said() -> None:
    with pytest.raises(BesideError, match="ValueError: no such thing"):
        run_in_two(batches, broken, simulations())
    with pytest.raises(BesideError, match="it ended with -9"):
        run_in_two(batches, killed, simulations())


def test_a_failure_of_the_first_ends_the_second() -> None:
    with pytest.raises(ValueError, match="no such thing"):
        run_in_two(broken, batches, simulations())


def test_only_large_files_are_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr("threading.active_count", lambda: 1)
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"\n" * 1_000)
    large.write_bytes(b"\n" * (1 << 20))
    assert is_worth_it([str(large), str(small)])
    assert not is_worth_it([str(small)])
    assert not is_worth_it([str(large), "-"])
    assert not is_worth_it([str(large), "db:axes"])
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    assert not is_worth_it([str(large)])
