"""What has to be said beside the table: how to read it, and where secguard is not the best."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.candidates import LIMIT
from benchmarks.peers.results import SCENARIOS, Result, Row
from benchmarks.peers.wording import interval, listed, short, signed


def reading(result: Result) -> Iterator[str]:
    setup = result.setup
    yield (
        "**µs** are the time of one request inside the process, without a network. Under *bare Django* it is the whole"
        f" time, under the others what they add: the median over {setup.pairs} chunks of requests, each between two"
        " chunks of bare Django in another process, and its 95 % interval (bootstrap). A minus: faster than bare"
        " Django, which checks a password there."
    )
    yield f"**Noise.** What bare Django adds to itself, in µs: {_noise(result)}. Differences of that size say nothing."
    yield (
        "**MD5 hides nothing.** A real hasher takes 100 ms and more, beside which every number here is small; whoever"
        " refuses a login before its password is checked saves that much."
    )
    yield (
        "**Trips** are writes to the store's connection; the answer of each is waited for, but for the second one of"
        " secguard's failed login, which is read when the view is done. **Commands** are what the server ran, scripts"
        " and all that they call. **SQL** counts the statements, bare Django's too, but not those of transactions."
    )
    yield f"**Bytes:** {setup.attackers:,} addresses failed once, each at another account."
    yield (
        "**Passwords checked:** guesses at one account from one address, over HTTP and with PBKDF2; the"
        f" {setup.guesses} of one moment go to gunicorn's 4 processes of 30 threads. Each time the site is a fresh one."
        " Whoever counts after the check lets pass what is being checked meanwhile."
    )
    yield (
        f"**Store away:** right logins over HTTP, by somebody who waits {setup.patience:g} s: the first one, and the"
        " slowest of those after it. *Killed* refuses connections, *hung* accepts them and says nothing. With"
        f" *time-outs set*, django-redis and django-defender have {setup.timeout:g} s to connect and as much for each"
        " answer; secguard has `STORE_TIMEOUT`, always. django-redis' `IGNORE_EXCEPTIONS` is off, as it"
        " comes."
    )
    yield (
        "**They are not the same thing.** django-ratelimit counts logins, right ones too, at this view. django-defender"
        " counts accounts as well as addresses and writes every login to the database. secguard evaluates all of its"
        " rules, writes a line of JSON for each login, and refuses every page, not logins alone."
    )


def _noise(result: Result) -> str:
    return "; ".join(f"{called} {interval(result.noise[scenario])}" for scenario, called in SCENARIOS.items())


def weaknesses(result: Result) -> Iterator[str]:
    """Where somebody does with less, as this run found it."""
    secguard, peers = result.rows[-1], result.rows[1:-1]
    found = [
        *_overrun(secguard),
        *_slower(secguard, peers),
        *_busier(secguard, peers),
        *_bigger(secguard, peers),
    ]
    yield from found or ["Nowhere, in this run."]


def _overrun(secguard: Row) -> Iterator[str]:
    most = max(secguard.checks_at_once)
    if most > LIMIT:
        said = f"**Parallel guesses**: up to {most} checks, where {LIMIT} are the limit."
        if secguard.away_at_once:
            said += (
                " The machine was so busy that processes had no answer of the store within `STORE_TIMEOUT`"
                f" ({secguard.away_at_once} in all) and went on to count for themselves"
                " ([Stores](stores.md#time-outs))."
            )
        yield said


def _slower(secguard: Row, peers: list[Row]) -> Iterator[str]:
    """Whoever adds less, where the intervals do not meet."""
    for scenario, called in SCENARIOS.items():
        mine = secguard.added[scenario]
        faster = [row for row in peers if row.added[scenario].high < mine.low]
        if faster:
            named = listed([f"{row.title} {signed(row.added[scenario].middle)}" for row in faster])
            yield f"**Time** of {called}: {signed(mine.middle)} µs; {named}."


def _busier(secguard: Row, peers: list[Row]) -> Iterator[str]:
    for scenario, called in SCENARIOS.items():
        mine = secguard.counts[scenario].commands
        leaner = [row for row in peers if row.counts[scenario].commands < mine]
        if leaner and mine >= 1:
            named = listed([f"{row.title} {short(row.counts[scenario].commands)}" for row in leaner])
            yield f"**Work of the store** for {called}: {short(mine)} commands; {named}."


def _bigger(secguard: Row, peers: list[Row]) -> Iterator[str]:
    smaller = [row for row in peers if row.store_bytes < secguard.store_bytes]
    if smaller:
        named = listed([f"{row.title} {row.store_bytes:,.0f}" for row in smaller])
        yield f"**Memory of the store**, an attacker: {secguard.store_bytes:,.0f} bytes; {named}."
