"""What every reader makes of its lines: attempts to log in, and who made them."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

from secguard.detection import normalize_identifier
from secguard.network import ClientAddress, ClientAddressResolver

#: Microseconds since 1970, as the log's clock has it: exact, where a float or the store's milliseconds are not.
Moment: TypeAlias = int
SECOND = 1_000_000
#: Clients and accounts that are remembered, so that a line costs a look-up: a bound, whatever the log holds.
_MAX_KNOWN = 100_000
#: A longer name stands in memory and in the report by its beginning and its digest.
_LONGEST_ACCOUNT = 254
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

T = TypeVar("T")


#: One attempt to log in. First whom it concerns, each text by its place, None if it is not known: the address (an IPv6
#: one as its /64), its network (/24 or /48), the account, both together (where somebody wants to know), and nothing.
#: Then when, whether it failed, the client, and another name of the account that is the user's own.
#: A plain tuple, since there are millions.
Attempt: TypeAlias = (
    "tuple[str | None, str | None, str | None, str | None, None, Moment, bool, ClientAddress | None, str | None]"
)
ADDRESS: Final = 0
NETWORK: Final = 1
ACCOUNT: Final = 2
PAIR: Final = 3
NONE: Final = 4
AT: Final = 5
HAS_FAILED: Final = 6
CLIENT: Final = 7
OTHER_NAME: Final = 8
#: Places of texts.
Place: TypeAlias = Literal[0, 1, 2, 3, 4]


class Client(NamedTuple):
    """``subject``: the address, or the /64 of an IPv6 one. ``network``: its /24 or /48."""

    subject: str | None
    network: str | None
    address: ClientAddress | None


NOBODY = Client(None, None, None)


def attempt(at: Moment, failed: bool, client: Client, account: str | None, other: str | None = None) -> Attempt:
    return client[0], client[1], account, None, None, at, failed, client[2], other


def with_pair(given: Attempt) -> Attempt:
    """The same, where the address and the account together are a subject."""
    address, network, account, _, _, at, failed, client, other = given
    pair = f"{address} {account}" if address and account else None
    return address, network, account, pair, None, at, failed, client, other


def with_account(given: Attempt, account: str) -> Attempt:
    """The same at another account."""
    address, network, _, _, _, at, failed, client, other = given
    return with_pair((address, network, account, None, None, at, failed, client, other))


def at_time(given: Attempt, moment: Moment) -> Attempt:
    """The same at another time."""
    address, network, account, pair, nothing, _, failed, client, other = given
    return address, network, account, pair, nothing, moment, failed, client, other


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
