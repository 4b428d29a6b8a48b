"""What every reader makes of its lines: attempts to log in, and who made them."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import NamedTuple, TypeAlias, TypeVar

from secguard.detection import normalize_identifier
from secguard.network import ClientAddress, ClientAddressResolver

#: Microseconds since 1970, as the log's clock has it: exact, where a float or the store's milliseconds are not.
Moment: TypeAlias = int
SECOND = 1_000_000
#: Clients and accounts that are remembered, so that a line costs a look-up: a bound, whatever the log holds.
_MAX_KNOWN = 50_000
#: A longer name stands in memory and in the report by its beginning and its digest.
_LONGEST_ACCOUNT = 254
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

T = TypeVar("T")


class Client(NamedTuple):
    """``subject``: the address, or the /64 of an IPv6 one. ``network``: its /24 or /48. Empty if it is not known."""

    subject: str
    network: str
    address: ClientAddress | None


NOBODY = Client("", "", None)

#: When, whether it failed, whose client, at which account, and the account's other name: the user's own, if known.
Attempt: TypeAlias = "tuple[Moment, bool, Client, str | None, str | None]"


class People:
    """Texts of a log → clients and accounts, each made equal once."""

    def __init__(self, resolver: ClientAddressResolver) -> None:
        self._resolver = resolver
        #: For readers' inner loops: what is not in them is found by ``client`` and ``account``.
        self.clients: dict[str, Client] = {}
        self.accounts: dict[str, str | None] = {}

    def client(self, text: object) -> Client:
        """Raises ValueError for what is no address; nothing at all is an unknown one."""
        if text is None or text == "":
            return NOBODY
        if type(text) is not str:
            raise ValueError(f"{text!r:.80} is no address")
        known = self.clients.get(text)
        if known is None:
            address = self._resolver.address(text)
            if address is None:
                raise ValueError(f"{text!r:.80} is no address")
            known = Client(address.subject, address.network, address)
            _remember(self.clients, text, known)
        return known

    def account(self, name: object) -> str | None:
        """The account as it is counted, or None where there is none."""
        if type(name) is not str:
            return _bounded(normalize_identifier(name))
        try:
            return self.accounts[name]
        except KeyError:
            account = _bounded(normalize_identifier(name))
            _remember(self.accounts, name, account)
            return account


def _bounded(account: str | None) -> str | None:
    if account is None or len(account) <= _LONGEST_ACCOUNT:
        return account
    digest = hashlib.blake2b(account.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{account[: _LONGEST_ACCOUNT - 33]}…{digest}"


def _remember(known: dict[str, T], key: str, value: T) -> None:
    if len(known) >= _MAX_KNOWN:
        known.clear()
    known[key] = value


def moment_of(time: datetime) -> Moment:
    """Of an aware datetime."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def datetime_of(moment: Moment) -> datetime:
    return _EPOCH + timedelta(microseconds=moment)


def iso(moment: Moment) -> str:
    """``2026-11-30T23:27:20Z``, with as many decimals as there are."""
    text = datetime_of(moment).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"
