"""A password hasher as slow as a real one that leaves the processor to others."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django.contrib.auth.hashers import MD5PasswordHasher

from sample_project.hashers import count_one


class UnhurriedHasher(MD5PasswordHasher):
    """Takes 100 ms on any machine, however busy: what is tested is how attempts wait for each other."""

    algorithm = "unhurried"

    def encode(self, password: str, salt: str, *arguments: Any) -> str:
        count_one()
        time.sleep(0.1)
        return super().encode(password, salt)


class GatedHasher(MD5PasswordHasher):
    """Takes until the file that SERVED_GATE names is there, and says which process it is in."""

    algorithm = "gated"

    def encode(self, password: str, salt: str, *arguments: Any) -> str:
        count_one()
        gate = Path(os.environ["SERVED_GATE"])
        gate.with_suffix(".pid").write_text(str(os.getpid()))
        deadline = time.monotonic() + 60
        while not gate.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().encode(password, salt)
