"""The attacks, and the honest people among them. Addresses are those reserved for documentation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from sample_project.accounts import PASSWORD, colleague
from sample_project.demo.client import Reply, Visitor, at_once
from sample_project.demo.report import Outcome
from sample_project.demo.servers import Site

LIMIT = 5  # failures of one address, the threshold of the rule brute_force
ADDRESSES = 10  # for one account, the threshold of the rule distributed_attack
ACCOUNTS = 25  # from one address; the rule account_enumeration trips at 20
BURST = 100
OFFICE = 50

#: Every worker has heard of a block after this many seconds: the interval of the replica, and some.
KNOWN_EVERYWHERE = 3.0


def honest_login(site: Site) -> Outcome:
    with _scenario("honest login, one typo", site) as outcome:
        alice = _at_the_login_page(site, "203.0.113.10")
        _attempt(outcome, alice, "alice", "a typo")
        _attempt(outcome, alice, "alice", PASSWORD)
        denied = alice.get("/reports/")
    outcome.expect_count(outcome.password_checks, 2, "password checks ran")
    outcome.expect(outcome.replies[-1].status == 302, "the right password after a wrong one lets her in")
    outcome.expect(denied.status == 403 and not denied.refused, "a page for staff is denied by the site")
    for event_type in ("login_failed", "login_success", "permission_denied"):
        outcome.expect(site.log.has(event_type, "alice"), f"{event_type} is logged with her name")
    return outcome


def brute_force(site: Site) -> Outcome:
    attacker_address = "198.51.100.7"
    with _scenario("brute force", site) as outcome:
        attacker = _at_the_login_page(site, attacker_address)
        for number in range(20):
            _attempt(outcome, attacker, "bob", f"guess {number}")
    outcome.expect_count(outcome.password_checks, LIMIT, "password checks ran")
    answered, refused = outcome.replies[:LIMIT], outcome.replies[LIMIT:]
    outcome.expect(all(reply.status == 200 for reply in answered), f"the first {LIMIT} are answered as ever")
    outcome.expect(all(reply.refused for reply in refused), "each later one is refused, with Retry-After")
    outcome.expect(all(reply.status == 403 for reply in refused), "the status of a refusal is 403")
    outcome.expect(_closed_to(attacker), "soon every worker refuses the address every page")
    outcome.expect(_is_open_to(site, "198.51.100.8"), "the address next to it is served")
    outcome.expect(
        site.log.has("suspicious_activity", attacker_address, rule="brute_force"),
        "a threat brute_force opened on the address",
    )
    outcome.expect(site.log.has("address_blocked", attacker_address), "the block is logged")
    return outcome


def distributed_attack(site: Site) -> Outcome:
    with _scenario("distributed attack", site) as outcome:
        for number in range(ADDRESSES):
            attacker = _at_the_login_page(site, f"192.0.2.{10 + number}")
            _attempt(outcome, attacker, "carol", f"guess {number}")
    outcome.expect_count(outcome.password_checks, ADDRESSES, "password checks ran")
    outcome.expect_count(len(outcome.refused), 0, "requests refused: one guess blocks no address")
    outcome.expect(
        site.log.has("suspicious_activity", "carol", rule="distributed_attack"),
        "a threat distributed_attack opened on the account",
    )
    return outcome


def lockout(locking: Site) -> Outcome:
    """The same attack where accounts are locked: strangers are, and the owner's own browser is not."""
    with _scenario("account lockout", locking) as outcome:
        carol = _at_the_login_page(locking, "203.0.113.30")
        _attempt(outcome, carol, "carol", PASSWORD)
        for number in range(ADDRESSES + 5):
            attacker = _at_the_login_page(locking, f"192.0.2.{50 + number}")
            _attempt(outcome, attacker, "carol", f"guess {number}")
        stranger = _at_the_login_page(locking, "192.0.2.99")
        _attempt(outcome, stranger, "carol", PASSWORD)
        carol.open_login_page()
        _attempt(outcome, carol, "carol", PASSWORD)
    outcome.expect_count(outcome.password_checks, ADDRESSES + 2, "password checks ran")
    outcome.expect_count(
        len(outcome.refused), 6, "attempts refused: of five more attackers, and of a stranger's browser"
    )
    outcome.expect(outcome.replies[-2].refused, "even the right password is refused to a browser never seen before")
    outcome.expect(outcome.replies[-1].status == 302, "the browser that was logged in before lets her in")
    outcome.expect(locking.log.has("account_locked", "carol"), "the lock is logged")
    return outcome


def enumeration(monitored: Site) -> Outcome:
    attacker_address = "2001:db8:5::1"
    with _scenario("enumeration (monitor)", monitored) as outcome:
        attacker = _at_the_login_page(monitored, attacker_address)
        for number in range(ACCOUNTS):
            _attempt(outcome, attacker, f"somebody{number:02}", "123456")
    outcome.expect_count(outcome.password_checks, ACCOUNTS, "password checks ran")
    outcome.expect_count(len(outcome.refused), 0, "requests refused in monitor mode")
    outcome.expect(_is_open_to(monitored, attacker_address), "the address is still served")
    outcome.expect(
        # The log shows an IPv6 subject by its /64, which begins like the address.
        monitored.log.has("suspicious_activity", "2001:db8:5:", rule="account_enumeration"),
        "a threat account_enumeration opened on the address",
    )
    return outcome


def burst(site: Site) -> Outcome:
    with _scenario(f"burst of {BURST} at once", site) as outcome:
        attacker = _at_the_login_page(site, "198.51.100.99")
        guesses = [partial(attacker.log_in, "dave", f"guess {number}") for number in range(BURST)]
        outcome.replies = at_once(guesses, outcome.show)
    outcome.expect_count(outcome.password_checks, LIMIT, "password checks ran")
    outcome.expect_count(len(outcome.refused), BURST - LIMIT, "guesses refused")
    outcome.expect(site.log.has("address_blocked", "198.51.100.99"), "the block is logged")
    return outcome


def office(site: Site) -> Outcome:
    """Colleagues behind one address log in at the same moment, and somebody else reads the site."""
    with _scenario(f"office of {OFFICE} at once", site) as outcome:
        logins = []
        for number in range(OFFICE):
            browser = _at_the_login_page(site, "203.0.113.80")
            logins.append(partial(browser.log_in, colleague(number), PASSWORD))
        with _reading_meanwhile(site.visitor("203.0.113.200")) as pages:
            outcome.replies = at_once(logins, outcome.show)
    outcome.expect_count(outcome.password_checks, OFFICE, "password checks ran")
    outcome.expect_count(len(outcome.let_in), OFFICE, "colleagues let in")
    slowest = max(page.milliseconds for page in pages)
    outcome.expect(
        all(page.status == 200 for page in pages) and slowest < 3000,
        f"somebody else read {len(pages)} pages meanwhile, the slowest in {slowest:.0f} ms",
    )
    return outcome


@contextmanager
def _scenario(name: str, site: Site) -> Iterator[Outcome]:
    """Measures what a scenario made the site do: its password checks and its threats."""
    outcome = Outcome(name)
    print(f"  {name:<24} ", end="", flush=True)
    outcome.allowed = [site.visitor("203.0.113.250").get("/login/") for _ in range(10)]
    checks, log = site.password_checks, site.log.from_here()
    yield outcome
    print(flush=True)
    outcome.password_checks = site.password_checks - checks
    outcome.threats = log.threats()


def _at_the_login_page(site: Site, address: str) -> Visitor:
    visitor = site.visitor(address)
    visitor.open_login_page()
    return visitor


def _attempt(outcome: Outcome, visitor: Visitor, username: str, password: str) -> None:
    reply = visitor.log_in(username, password)
    outcome.replies.append(reply)
    outcome.show(reply)


def _is_open_to(site: Site, address: str) -> bool:
    return site.visitor(address).get("/").status == 200


def _closed_to(visitor: Visitor) -> bool:
    """Whether a row of requests, long enough to meet each worker, is refused before the time is up."""
    deadline = time.monotonic() + KNOWN_EVERYWHERE
    while not all(visitor.get("/").refused for _ in range(20)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def _reading_meanwhile(visitor: Visitor) -> Iterator[list[Reply]]:
    pages: list[Reply] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set() or not pages:
            pages.append(visitor.get("/"))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield pages
    finally:
        done.set()
        reader.join()


Scenario = Callable[[Site], Outcome]

#: Run in this order against the enforcing site.
ENFORCED: tuple[Scenario, ...] = (
    honest_login,
    brute_force,
    distributed_attack,
    burst,
    office,
)
