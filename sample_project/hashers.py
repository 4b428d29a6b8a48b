"""A password hasher that tells how often it really ran."""

from __future__ import annotations

import os

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class CountingPBKDF2PasswordHasher(PBKDF2PasswordHasher):
    """PBKDF2 that appends one byte to the file ``SAMPLE_CHECK_COUNTER`` names for each hash it makes.

    Checking a password makes exactly one, whether the account exists or not: for an unknown one Django
    hashes the password too, to take as long. The size of the file is the number of checks, over all workers.
    """

    # About 100 ms on one core. Django's default takes more than twice as long, and a demo of some 90
    # checks should not make anybody wait.
    iterations = 450_000

    # Stored hashes name their hasher; this one must not be taken for Django's own.
    algorithm = "counting_pbkdf2_sha256"

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        count_one()
        return super().encode(password, salt, iterations)


def count_one() -> None:
    """Grow the counter file, if there is one. A single byte in append mode is never lost or torn."""
    if path := os.environ.get("SAMPLE_CHECK_COUNTER"):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, b".")
        finally:
            os.close(descriptor)
