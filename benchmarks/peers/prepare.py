"""Migrates a candidate's database and creates the accounts."""

from __future__ import annotations

import django

#: The one logs in, the other is guessed at: its password takes as long to check as a real one.
OWNER, TARGET = "alice", "bob"
PASSWORD = "correct-password"


def main() -> None:
    django.setup()
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0, skip_checks=True)
    for name, hasher in ((OWNER, "md5"), (TARGET, "counting_pbkdf2_sha256")):
        User.objects.create(username=name, password=make_password(PASSWORD, hasher=hasher))


if __name__ == "__main__":
    main()
