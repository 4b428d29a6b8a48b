"""One of several processes that fail to log in, with several threads each: python -m tests.end_to_end.flood 100"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import django
from django.test import Client

THREADS = 4
ADDRESSES, ACCOUNTS = 12, 30


def fail(number: int) -> int:
    client = Client(REMOTE_ADDR=f"198.51.100.{number % ADDRESSES}")
    data = {"username": f"nobody{number % ACCOUNTS}", "password": "guess"}
    return client.post("/sync/log_in/", data).status_code


def main() -> None:
    django.setup()
    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(fail, range(int(sys.argv[1]))))
    assert set(answers) == {200}, f"answered {set(answers)}"


if __name__ == "__main__":
    main()
