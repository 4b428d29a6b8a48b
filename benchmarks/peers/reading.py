"""What has to be said beside the table: how to read it, and where secguard is not the best."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.results import SCENARIOS, Result, Row


def reading(result: Result) -> Iterator[str]:
    setup = result.setup
    yield "## How to read it"
    yield ""
    yield (
        f"- **µs** are the time of one request inside the process, without a network. Under *{result.rows[0].title}* it"
        " is the whole time, under the others what they add to it: the median over"
        f" {setup.pairs} chunks of requests, each between two chunks of bare Django in another process, and its 95 %"
        " interval (bootstrap). A minus means that it is faster than bare Django, which checks a password there."
    )
    yield f"- **Noise.** Bare Django against itself: {_noise(result)}. Differences of that size say nothing."
    yield (
        "- **MD5 hides nothing.** A real hasher takes 100 ms and more, beside which every number here is small; a"
        " login that is refused before the password is checked saves that much."
    )
    yield (
        "- **Trips** are writes to the store's connection, each of them waited for over the network, but for one of"
        " secguard's two at a failed login, which is read when the view is done. **Commands** are what the server ran,"
        " scripts with what they call. **SQL** counts all statements but those of transactions, bare Django's too."
    )
    yield f"- **Bytes**: {setup.attackers:,} addresses failed once, each at another account."
    yield (
        f"- **Passwords checked**: guesses at one account from one address over HTTP, {setup.guesses} of them at the"
        " same moment, to 4 processes of 30 threads under gunicorn, with PBKDF2; each time on a fresh site. Whoever"
        " counts after the check lets pass what is being checked meanwhile."
    )
    yield (
        f"- **Store away**: right logins over HTTP, by somebody who waits {setup.patience:g} s: the first one and the"
        " slowest later one. *Killed* refuses connections, *hung* accepts them and answers nothing. With *time-outs"
        f" set*, django-redis and django-defender have {setup.timeout:g} s to connect and as much for an answer;"
        " secguard has its own `STORE_TIMEOUT` always."
    )
    yield (
        "- **They are not the same thing.** django-ratelimit counts logins, right ones too, and only at this view;"
        " django-defender counts the account as well as the address, and writes every login to the database;"
        " secguard evaluates all of its rules, writes a line of JSON for each login, and refuses every page, not"
        " logins alone."
    )
    yield ""
    yield "## Where secguard is slower"
    yield ""
    yield from _slower(result)


def _noise(result: Result) -> str:
    found = (f"{called} {result.noise[scenario].middle:+.0f} µs" for scenario, called in SCENARIOS.items())
    return ", ".join(found).replace("-", "−")


def _slower(result: Result) -> Iterator[str]:
    """Whoever adds less, where the intervals do not meet."""
    lines = list(_slower_by_scenario(result))
    yield from lines or ["Nowhere, in this run."]
    leanest = [row.title for row in _peers(result) if row.store_bytes < result.rows[-1].store_bytes]
    if leanest:
        yield f"- It leaves more in the store for each attacker than {_listed(leanest)}."


def _slower_by_scenario(result: Result) -> Iterator[str]:
    secguard = result.rows[-1]
    for scenario, called in SCENARIOS.items():
        mine = secguard.added[scenario]
        faster = [row for row in _peers(result) if row.added[scenario].high < mine.low]
        if faster:
            named = _listed([f"{row.title} {row.added[scenario].middle:+,.0f} µs" for row in faster])
            yield f"- {called[0].upper()}{called[1:]}: {mine.middle:+,.0f} µs; {named}.".replace("-0", "0")


def _peers(result: Result) -> list[Row]:
    return result.rows[1:-1]


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
