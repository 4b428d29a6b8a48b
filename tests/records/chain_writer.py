"""A process that inserts rows into the chain as fast as it can, a few at a time, and says each time that it did."""

from __future__ import annotations

import sys

import django


def main(times: int, rows: int) -> None:
    django.setup()

    from secguard.records.chain import insert
    from tests.records.test_chain import row

    print("ready", flush=True)
    sys.stdin.readline()  # all begin at the same moment
    for _ in range(times):
        insert([row(number) for number in range(rows)], "default")
        print("done", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
