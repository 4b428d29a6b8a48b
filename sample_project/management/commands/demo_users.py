"""Creates the accounts of the demo."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandParser

from sample_project.accounts import PASSWORD, PEOPLE, STAFF, colleague


class Command(BaseCommand):
    help = "Create the sample site's accounts: some people, one of them staff, and an office of colleagues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--office", type=int, default=0, help="how many colleagues to add")

    def handle(self, *args: Any, **options: Any) -> None:
        colleagues = [colleague(number) for number in range(options["office"])]
        names = [*PEOPLE, STAFF, *colleagues]
        # One hash for all of them: the demo should not spend its first seconds on salts.
        encoded = make_password(PASSWORD)
        User.objects.bulk_create(
            [
                User(
                    username=name,
                    email=f"{name}@example.com",
                    password=encoded,
                    is_staff=name == STAFF,
                    is_superuser=name == STAFF,
                )
                for name in names
            ],
            ignore_conflicts=True,
        )
        self.stdout.write(f"{', '.join(names)}: each with the password: {PASSWORD}")
