"""One of several processes that fail to log in, with several threads each: python -m tests.end_to_end.flood 100

With ``crowd`` the failures come from a thousand addresses, by the authentication alone: a hundred thousand of them
through all of a site would take an hour.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import django
from django.contrib.auth import authenticate
from django.test import Client, RequestFactory

THREADS = 4
ADDRESSES, ACCOUNTS = 12, 30
CROWD = [f"198.18.{number >> 8}.{number & 255}" for number in range(1_000)]


def fail(number: int) -> int:
    client = Client(REMOTE_ADDR=f"198.51.100.{number % ADDRESSES}")
    data = {"username": f"nobody{number % ACCOUNTS}", "password": "guess"}
    return client.post("/sync/log_in/", data).status_code


def fail_in_the_crowd(number: int) -> int:
    request = RequestFactory(REMOTE_ADDR=CROWD[number % len(CROWD)]).post("/sync/log_in/")
    authenticate(request, username=f"nobody{number % 7_919}", password="guess")
    return 200


def main() -> None:
    django.setup()
    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(fail_in_the_crowd if "crowd" in sys.argv else fail, range(int(sys.argv[1]))))
    assert set(answers) == {200}, f"answered {set(answers)}"


if __name__ == "__main__":
    main()
