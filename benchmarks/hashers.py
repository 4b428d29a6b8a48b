"""The hashers of the measured site besides Django's own."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class BriefPBKDF2PasswordHasher(PBKDF2PasswordHasher):
    """A hundredth of the work: still so much that a check left out shows, and little enough to be repeated."""

    iterations = 10_000
