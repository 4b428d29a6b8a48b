"""A password hasher as slow as a real one that leaves the processor to others."""

from __future__ import annotations

import time
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
