"""django-defender's store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from tests.conftest import _server


@pytest.fixture(scope="session", autouse=True)
def _defenders_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with _server(tmp_path_factory.mktemp("defender"), settings.DEFENDER_PORT):
        yield


@pytest.fixture(autouse=True)
def _empty_store(_defenders_store: None) -> None:
    with redis.Redis.from_url(settings.DEFENDER_REDIS_URL) as client:
        client.flushdb()
