"""Where a candidate lives: its database file and its number in the store, fresh whenever something is measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.candidates import BY_KEY, Candidate
from benchmarks.peers.store import Store

NUMBERS = {key: number for number, key in enumerate(BY_KEY, 1)}


@dataclass(frozen=True)
class Places:
    folder: Path
    store: Store

    def environment(self, candidate: Candidate, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SECGUARD", "PEERS_"))}
        return {
            **kept,
            "DJANGO_SETTINGS_MODULE": "benchmarks.peers.settings",
            "PEERS_CANDIDATE": candidate.key,
            "PEERS_FOLDER": str(self.folder),
            "PEERS_STORE": self.store.url(NUMBERS[candidate.key]),
            **more,
        }

    def prepare(self, candidate: Candidate) -> None:
        """Make the database that ``reset`` goes back to."""
        command = [sys.executable, "-m", "benchmarks.peers.prepare"]
        subprocess.run(command, env=self.environment(candidate), check=True)
        shutil.copy(self._database(candidate), self._pristine(candidate))

    def reset(self, candidate: Candidate) -> None:
        """No process of the candidate may run meanwhile."""
        database = self._database(candidate)
        for suffix in ("-wal", "-shm"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        shutil.copy(self._pristine(candidate), database)
        self.store.flush(NUMBERS[candidate.key])

    def _database(self, candidate: Candidate) -> Path:
        return self.folder / f"{candidate.key}.sqlite3"

    def _pristine(self, candidate: Candidate) -> Path:
        return self.folder / f"{candidate.key}.pristine"
