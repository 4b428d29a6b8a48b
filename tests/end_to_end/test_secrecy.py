"""What nobody can find out: by the work that a guess makes, or by looking into the store."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.end_to_end.conftest import PATIENT
from tests.end_to_end.entry import ADDRESS, WRONG, Visitor
from tests.end_to_end.test_costs import Measured, measured, queries_of  # noqa: F401 - the fixture

pytestmark = pytest.mark.usefixtures("anna")


@pytest.fixture
def store_settings(empty_redis: str) -> dict[str, Any]:
    return {"REDIS_URL": empty_redis, "STORE_TIMEOUT": PATIENT}


@pytest.mark.parametrize("lockout", ["off", "unknown_devices"])
def test_a_guess_at_nobody_costs_what_one_at_somebody_does(
    visitor: Visitor,
    measured: Measured,  # noqa: F811
    configure: Any,
    lockout: str,
) -> None:
    configure(ACCOUNT_LOCKOUT=lockout, UNKNOWN_ACCOUNT_NAMES="digest")
    visitor.guess(1, "carl")  # the first request does more
    costs = []
    for name in ("anna", "nobody"):
        with measured() as each:
            visitor.guess(1, name)
        costs.append((each.trips, each.queries))
    assert costs[0] == costs[1]


def test_the_store_holds_neither_names_nor_addresses(visitor: Visitor, redis_client: redis.Redis) -> None:
    visitor.guess(2, "anna")
    visitor.log_in("anna")
    visitor.log_in("bert@example.com", WRONG)
    keys = list(redis_client.scan_iter("sg:*"))
    values = [redis_client.get(key) or b"" for key in keys if redis_client.type(key) == b"string"]
    assert len(keys) == len(values) > 1
    held = b"\n".join([*keys, *values])
    for told in (b"anna", b"bert", b"example", ADDRESS.encode(), bytes(map(int, ADDRESS.split(".")))):
        assert told not in held
