"""How the guard of this process is doing, for whoever decides where requests are sent."""

from __future__ import annotations

from typing import NamedTuple

from secguard.conf import get_settings
from secguard.pipeline import get_replica, get_store
from secguard.records.synchroniser import get_synchroniser

OK, DEGRADED, FAILING, OFF = "ok", "degraded", "failing", "off"


class Health(NamedTuple):
    """``status``: ok; degraded: the site is guarded, less exactly; failing: who is blocked is not known here, and gets
    in; off, by MODE. ``store``, ``database``: ok or away. ``blocks``: loaded or unknown."""

    status: str
    store: str
    database: str
    blocks: str


def ask() -> Health:
    """How it is doing now: the store and the database are asked, at most once a SYNC_INTERVAL."""
    if get_settings().mode != "off":
        get_synchroniser().poll()
    return _look()


async def aask() -> Health:
    """The same, without blocking the event loop."""
    if get_settings().mode != "off":
        await get_synchroniser().apoll()
    return _look()


def _look() -> Health:
    away = get_store().degraded
    failing = get_synchroniser().failing
    loaded = get_replica().loaded
    if get_settings().mode == "off":
        status = OFF
    elif not loaded:
        status = FAILING
    else:
        status = DEGRADED if away or failing else OK
    return Health(status, _state(away), _state(failing), "loaded" if loaded else "unknown")


def _state(away: bool) -> str:
    return "away" if away else "ok"
