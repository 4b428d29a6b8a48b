"""What follows from an attack, as the settings say: for how long, for whom, and where nobody honest goes."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.http import HttpRequest

from secguard.blocking import policy
from secguard.detection import Threat
from secguard.logging import security_event_logger
from secguard.models import AccountLock, Block
from secguard.records import allow_network, block_network, unblock_network
from secguard.testing import CapturedEvents, ManualClock
from tests.conftest import without_block_table
from tests.end_to_end.conftest import Configure, Visit
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Visitor

pytestmark = pytest.mark.usefixtures("anna", "bert")

HOUR, DAY = 3_600, 86_400
#: The first failure blocks.
AT_ONCE = {"brute_force": {"threshold": 1}}

Later = Callable[..., None]


@pytest.fixture
def later(clock: ManualClock, configure: Configure) -> Later:
    """Lets time pass: for the blocks in force, for their rows, and for the counters of the address."""

    def later(seconds: float, address: str = ADDRESS) -> None:
        clock.advance(seconds)
        passed = timedelta(seconds=seconds)
        Block.objects.update(created_at=F("created_at") - passed, expires_at=F("expires_at") - passed)
        security_event_logger.reset(ip_address=address)

    return later


def durations() -> list[float]:
    """How long the blocks last, in the order in which they were raised."""
    rows = Block.objects.order_by("pk").values_list("created_at", "expires_at")
    return [round((expires - created).total_seconds(), 1) for created, expires in rows if expires]


def retry_after(visitor: Visitor) -> int:
    refused = visitor.get("home/")
    assert refused.status_code == 403
    return int(refused["Retry-After"])


# -- a block lasts longer each time ----------------------------------------------------------------------


def test_a_second_block_lasts_an_hour(visitor: Visitor, later: Later, events: CapturedEvents) -> None:
    visitor.guess(5)
    assert retry_after(visitor) == 900
    later(900)
    assert visitor.guess(6) == [200] * 5 + [403]
    assert retry_after(visitor) == HOUR
    assert durations() == [900, HOUR]
    assert [event.context["offence"] for event in events.of("address_blocked")] == [1, 2]


def test_the_third_and_fourth_last_a_day_and_a_week_and_so_does_each_further_one(
    visitor: Visitor, configure: Configure, later: Later
) -> None:
    configure(RULES=AT_ONCE)
    for _ in range(6):
        visitor.guess()
        later(retry_after(visitor))
    assert durations() == [900, HOUR, DAY, 7 * DAY, 7 * DAY, 7 * DAY]


def test_blocks_that_overlap_are_one_offence(visitor: Visitor, later: Later) -> None:
    """Several workers may each have answered one attack."""
    visitor.guess(5)
    (row,) = Block.objects.all()
    for _ in range(3):
        row.pk, row.reference = None, uuid.uuid4()
        row.save()
    later(900)
    visitor.guess(5)
    assert retry_after(visitor) == HOUR


def test_offences_are_remembered_as_long_as_no_quiet_time_lies_between_them(
    visitor: Visitor, configure: Configure, later: Later
) -> None:
    configure(RULES=AT_ONCE, OFFENCE_MEMORY=DAY)
    for _ in range(3):
        visitor.guess()
        later(retry_after(visitor) + DAY - 60)
    assert durations() == [900, HOUR, DAY]


def test_the_offences_of_one_address_are_not_anothers(visit: Visit, later: Later) -> None:
    visit().guess(5)
    later(900)
    visit("192.0.2.2").guess(5)
    assert retry_after(visit("192.0.2.2")) == 900


def test_a_block_that_an_operator_lifted_was_no_offence(visitor: Visitor) -> None:
    visitor.guess(5)
    unblock_network(ADDRESS)
    visitor.guess(5)
    assert retry_after(visitor) == 900


def test_a_block_by_an_operator_is_no_offence(visitor: Visitor, later: Later) -> None:
    block_network(ADDRESS, duration=600)
    later(600)
    visitor.guess(5)
    assert retry_after(visitor) == 900


@pytest.mark.parametrize(("quiet", "seconds"), [(HOUR - 60, HOUR), (DAY + HOUR, 900)], ids=["remembered", "forgotten"])
def test_an_offence_is_forgotten_after_a_time(
    visitor: Visitor, configure: Configure, later: Later, quiet: float, seconds: float
) -> None:
    configure(OFFENCE_MEMORY=DAY)
    visitor.guess(5)
    later(900 + quiet)
    visitor.guess(5)
    assert retry_after(visitor) == seconds


def test_one_duration_is_that_of_every_offence(visitor: Visitor, configure: Configure, later: Later) -> None:
    configure(BLOCK_DURATION=600)
    for _ in range(2):
        visitor.guess(5)
        later(retry_after(visitor))
    assert durations() == [600, 600]


def test_a_rule_may_have_a_ladder_of_its_own(visitor: Visitor, configure: Configure, later: Later) -> None:
    configure(RULES={"brute_force": {"threshold": 1, "block_duration": [60, timedelta(minutes=2)]}}, BLOCK_DURATION=7)
    for _ in range(3):
        visitor.guess()
        later(retry_after(visitor))
    assert durations() == [60, 120, 120]


asked: list[tuple[int, str, str]] = []


def doubling(offence: int, threat: Threat) -> float:
    asked.append((offence, threat.rule.name, threat.subject))
    return 100 * float(1 << offence)


def days(offence: int, threat: Threat) -> timedelta:
    return timedelta(days=offence)


@pytest.mark.parametrize("given", [doubling, f"{__name__}.doubling"], ids=["function", "path"])
def test_a_function_may_say_how_long(visitor: Visitor, configure: Configure, later: Later, given: object) -> None:
    asked.clear()
    configure(BLOCK_DURATION=given)
    for _ in range(2):
        visitor.guess(5)
        later(retry_after(visitor))
    assert durations() == [200, 400]
    assert asked == [(1, "brute_force", ADDRESS), (2, "brute_force", ADDRESS)]


def test_a_rule_may_have_a_function_of_its_own(visitor: Visitor, configure: Configure) -> None:
    configure(RULES={"brute_force": {"block_duration": days}})
    visitor.guess(5)
    assert durations() == [DAY]


@pytest.mark.parametrize(
    "given",
    [lambda offence, threat: 1 / 0, lambda offence, threat: None, lambda offence, threat: -1, lambda: 60],
    ids=["raises", "nothing", "negative", "other arguments"],
)
def test_a_function_that_fails_makes_a_block_of_a_quarter_of_an_hour(
    visitor: Visitor, configure: Configure, given: object
) -> None:
    configure(BLOCK_DURATION=given)
    assert visitor.guess(6) == [200] * 5 + [403]
    assert durations() == [900]


def test_where_offences_cannot_be_counted_a_block_lasts_as_long_as_a_first_one(
    visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    visitor.get("home/")
    with without_block_table():
        assert visitor.guess(6) == [200] * 5 + [403]
        assert retry_after(visitor) == 900
    assert any("earlier offences of 192.0.2.1 could not be counted" in record.getMessage() for record in caplog.records)


# -- at random, within bounds ----------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "spread", "seconds"), [(0.1, 1, 990), (0.1, -1, 810), (0.5, -1, 450), (0, 1, 900)])
def test_a_block_is_longer_or_shorter_by_no_more_than_the_jitter(
    visitor: Visitor,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    spread: float,
    seconds: float,
) -> None:
    monkeypatch.setattr(policy, "spread", lambda: spread)
    configure(BLOCK_JITTER=share)
    visitor.guess(5)
    assert durations() == [seconds]
    assert retry_after(visitor) == seconds


def test_who_was_blocked_together_does_not_come_back_together(
    visit: Visit, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "spread", lambda: random.uniform(-1, 1))
    configure(RULES=AT_ONCE, NETWORK_ACTION_IPV4="off")
    for number in range(1, 21):
        visit(f"192.0.2.{number}").guess()
    assert all(810 <= seconds <= 990 for seconds in durations())
    assert len(set(durations())) > 5


# -- networks --------------------------------------------------------------------------------------------


def block_all(visit: Visit, addresses: list[str]) -> None:
    for address in addresses:
        assert visit(address).guess() == [200]
        assert visit(address).get("home/").status_code == 403


def ipv4(count: int) -> list[str]:
    return [f"198.51.100.{number}" for number in range(1, count + 1)]


def ipv6(count: int, prefix: str = "2001:db8:0:") -> list[str]:
    return [f"{prefix}{number:x}::1" for number in range(count)]


def networks() -> list[str]:
    return list(Block.objects.filter(rule="blocked_neighbours").values_list("network", flat=True))


def test_eight_blocked_neighbours_are_proposed_with_one_line(
    visit: Visit, configure: Configure, events: CapturedEvents
) -> None:
    configure(RULES=AT_ONCE)
    block_all(visit, ipv4(7))
    assert events.of("network_proposed") == []
    block_all(visit, ipv4(10)[7:])
    (proposed,) = events.of("network_proposed")
    assert (proposed.context["subject"], proposed.context["blocked_addresses"]) == ("198.51.100.0/24", 8)
    assert "secguard block" in proposed.context["hint"]
    assert networks() == []
    assert visit("198.51.100.99").log_in().status_code == 302


def test_in_ipv6_the_network_is_blocked_and_refuses_a_neighbour_never_seen(
    visit: Visit, configure: Configure, events: CapturedEvents
) -> None:
    configure(RULES=AT_ONCE)
    block_all(visit, ipv6(8))
    assert networks() == ["2001:db8::/56"]
    assert visit("2001:db8:0:99::7").get("home/").status_code == 403
    assert visit("2001:db8:0:100::7").get("home/").status_code == 200
    assert events.of("network_proposed") == []
    raised = events.of("address_blocked")[-1].context
    assert (raised["subject"], raised["rule"]) == ("2001:db8::/56", "blocked_neighbours")
    assert raised["reason"] == "8 of its addresses are blocked"


def test_in_ipv4_too_if_the_setting_says_so(visit: Visit, configure: Configure) -> None:
    configure(RULES=AT_ONCE, NETWORK_THRESHOLD=3, NETWORK_ACTION_IPV4="block")
    block_all(visit, ipv4(3))
    assert networks() == ["198.51.100.0/24"]
    assert visit("198.51.100.99").log_in().status_code == 403


def test_neighbours_whose_blocks_are_raised_again_count_too(
    visit: Visit, configure: Configure, clock: ManualClock
) -> None:
    configure(TRAP_PATHS=["/.env"], BLOCK_DURATION=60, NETWORK_THRESHOLD=3, SYNC_INTERVAL=HOUR)
    first, second, third = (visit(address) for address in ipv6(3))
    first.get("/.env")
    second.get("/.env")
    clock.advance(60)
    for neighbour in (third, first, second):
        assert neighbour.get("/.env").status_code == 403
    assert networks() == ["2001:db8::/56"]


def test_a_network_is_left_alone_if_the_settings_say_so(
    visit: Visit, configure: Configure, events: CapturedEvents
) -> None:
    configure(RULES=AT_ONCE, NETWORK_THRESHOLD=2, NETWORK_ACTION_IPV4="off", NETWORK_ACTION_IPV6="propose")
    block_all(visit, [*ipv4(4), *ipv6(4)])
    assert networks() == []
    assert [event.context["subject"] for event in events.of("network_proposed")] == ["2001:db8::/56"]


def test_the_block_of_a_network_can_be_lifted(visit: Visit, configure: Configure) -> None:
    configure(RULES=AT_ONCE)
    block_all(visit, ipv6(8))
    assert unblock_network("2001:db8::/56") == 1
    assert visit("2001:db8:0:99::7").get("home/").status_code == 200
    assert visit("2001:db8::1").get("home/").status_code == 403


def test_where_no_more_may_be_blocked_the_network_is(visit: Visit, configure: Configure) -> None:
    configure(RULES=AT_ONCE, MAX_ACTIVE_BLOCKS=3)
    block_all(visit, ipv6(4))
    assert networks() == ["2001:db8::/48"]
    assert Block.objects.count() == 4
    assert visit("2001:db8:0:ffff::7").get("home/").status_code == 403


def test_and_whoever_has_no_blocked_neighbour_is_limited_and_not_blocked(
    visit: Visit, configure: Configure, events: CapturedEvents
) -> None:
    configure(RULES=AT_ONCE, MAX_ACTIVE_BLOCKS=3)
    block_all(visit, ipv6(3))
    stranger = visit("2001:db8:ffff::1")
    assert stranger.guess(3) == [200, 403, 403]
    assert stranger.get("home/").status_code == 200
    assert [event.context["reason"] for event in events.of("block_suppressed")] == ["full"]


# -- exempt by the project's own function ----------------------------------------------------------------

STAFF = {"X-Staff": "yes"}
seen: list[tuple[str, bool, bool]] = []


def is_staff(request: HttpRequest) -> bool:
    seen.append((request.path, hasattr(request, "session"), hasattr(request, "user")))
    return request.headers.get("X-Staff") == "yes"


def broken(request: HttpRequest) -> bool:
    raise RuntimeError("the list of staff is away")


@pytest.fixture
def exempting(configure: Configure) -> Configure:
    seen.clear()
    configure(EXEMPT_WHEN=is_staff)
    return configure


def test_the_exempt_are_served_from_a_blocked_address(
    visitor: Visitor, exempting: Configure, events: CapturedEvents
) -> None:
    visitor.guess(5)
    assert visitor.get("home/").status_code == 403
    assert visitor.get("home/", **STAFF).status_code == 200
    assert [event.context["reason"] for event in events.of("block_suppressed")] == ["exempt"]


def test_before_a_refusal_the_function_runs_ahead_of_session_and_authentication(
    visitor: Visitor, exempting: Configure
) -> None:
    visitor.guess(5)
    seen.clear()
    visitor.get("home/")
    assert seen == [(visitor.path("home/"), False, False)]


def test_the_exempt_are_refused_by_no_limit(visitor: Visitor, exempting: Configure, checked: list[object]) -> None:
    exempting(EXEMPT_WHEN=is_staff, RULES={"brute_force": {"action": "refuse"}})
    assert visitor.guess(6) == [200] * 5 + [403]
    assert visitor.post("log_in/", {"username": "anna", "password": RIGHT}, **STAFF).status_code == 302
    assert len(checked) == 6


def test_the_exempt_are_counted_and_not_blocked(visitor: Visitor, exempting: Configure, events: CapturedEvents) -> None:
    visitor.headers.update(STAFF)
    assert visitor.guess(8) == [200] * 8
    assert not Block.objects.exists()
    assert len(events.of("login_failed")) == 8
    assert [event.context["reason"] for event in events.of("block_suppressed")] == ["exempt"]


def test_the_function_is_asked_once_a_request_and_for_no_page_of_the_unsuspicious(
    visitor: Visitor, exempting: Configure
) -> None:
    visitor.get("home/")
    assert seen == []
    visitor.guess()
    assert len(seen) == 1


@pytest.mark.parametrize("given", [broken, lambda: True], ids=["raises", "other arguments"])
def test_a_function_that_fails_exempts_nobody_and_harms_nobody(
    visit: Visit, configure: Configure, caplog: pytest.LogCaptureFixture, given: object
) -> None:
    configure(EXEMPT_WHEN=given)
    assert visit().guess(6) == [200] * 5 + [403]
    assert [visit().get("home/").status_code for _ in range(3)] == [403] * 3
    assert visit("192.0.2.2").log_in().status_code == 302
    told = [record for record in caplog.records if record.name == "secguard"]
    assert ["SECGUARD['EXEMPT_WHEN'] failed" in record.getMessage() for record in told] == [True]


# -- subjects of the project's own -----------------------------------------------------------------------


def client(request: HttpRequest, account: str | None) -> str:
    """An address and the browser that is used there."""
    return f"{request.META['REMOTE_ADDR']} {request.headers.get('User-Agent', '')}"


def admin_door(request: HttpRequest, account: str | None) -> str | None:
    """Whoever knocks at the admin, and nobody else."""
    return str(request.META["REMOTE_ADDR"]) if request.path.startswith("/admin/") else None


def failing(request: HttpRequest, account: str | None) -> str:
    raise RuntimeError("the directory is away")


def over(subject: str, **more: Any) -> dict[str, Any]:
    """Nothing but a rule over this subject, which refuses."""
    own = {"events": "login_failed", "subject": subject, "threshold": 3, "window": 900, "action": "refuse", **more}
    return {"brute_force": None, "own": own}


FIREFOX, CURL = {"User-Agent": "Firefox/140"}, {"User-Agent": "curl/8"}


@pytest.mark.parametrize("given", [client, f"{__name__}.client"], ids=["function", "path"])
def test_a_client_is_refused_and_another_one_at_the_same_address_let_in(
    visit: Visit, configure: Configure, events: CapturedEvents, checked: list[object], given: object
) -> None:
    configure(SUBJECTS={"client": given}, RULES=over("client"))
    attacker, neighbour = visit(**CURL), visit(**FIREFOX)
    assert attacker.guess(5) == [200] * 3 + [403] * 2
    assert neighbour.guess(2) == [200] * 2
    assert neighbour.log_in().status_code == 302
    assert attacker.log_in().status_code == 403
    assert len(checked) == 6
    (threat,) = events.of("suspicious_activity")
    assert (threat.context["subject_type"], threat.context["subject"]) == ("client", f"{ADDRESS} curl/8")
    assert threat.context["action"] == "refuse"


def test_whom_a_rule_only_refuses_is_not_blocked(visit: Visit, configure: Configure) -> None:
    configure(SUBJECTS={"client": client}, RULES=over("client"))
    attacker = visit(**CURL)
    attacker.guess(5)
    assert attacker.get("home/").status_code == 200
    assert not Block.objects.exists()


def test_a_rule_over_a_subject_of_ones_own_may_block_the_address(visit: Visit, configure: Configure) -> None:
    configure(SUBJECTS={"client": client}, RULES=over("client", action="block"))
    visit(**CURL).guess(3)
    assert visit(**FIREFOX).get("home/").status_code == 403
    assert [block.network for block in Block.objects.all()] == [ADDRESS]


def test_a_right_password_forgives_a_client_its_own_failures(visit: Visit, configure: Configure) -> None:
    configure(SUBJECTS={"client": client}, RULES=over("client"))
    visitor = visit(**FIREFOX)
    for _ in range(3):
        assert visitor.guess(2) == [200] * 2
        assert visitor.log_in().status_code == 302


def test_a_rule_may_hold_at_the_admins_door_alone(visit: Visit, configure: Configure, anna: User) -> None:
    User.objects.filter(pk=anna.pk).update(is_staff=True)
    configure(SUBJECTS={"admin_door": admin_door}, RULES=over("admin_door"))
    visitor = visit()
    assert visitor.guess(6) == [200] * 6

    def knock(password: str) -> int:
        data = {"username": "anna", "password": password}
        return visitor.post("/admin/login/?next=/admin/", data).status_code

    assert [knock(WRONG) for _ in range(4)] == [200] * 3 + [403]
    assert knock(RIGHT) == 403
    assert visitor.log_in().status_code == 302
    assert visit("192.0.2.2").post("/admin/login/", {"username": "anna", "password": RIGHT}).status_code == 302


def test_a_subject_whose_function_fails_counts_nothing_and_harms_nobody(
    visitor: Visitor, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(SUBJECTS={"client": failing}, RULES=over("client"))
    assert visitor.guess(6) == [200] * 6
    assert visitor.log_in().status_code == 302
    assert any("SECGUARD['SUBJECTS']['client'] failed" in record.getMessage() for record in caplog.records)


# -- traps -----------------------------------------------------------------------------------------------

TRAPS = ["/wp-login.php", "/.git", "*.asp"]


@pytest.fixture
def trapped(configure: Configure) -> Configure:
    configure(TRAP_PATHS=TRAPS)
    return configure


@pytest.mark.parametrize("path", ["/wp-login.php", "/wp-login.php/x", "/.git", "/.git/", "/.git/config", "/a/b/c.asp"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_whoever_asks_for_a_trap_is_blocked(visitor: Visitor, trapped: Configure, path: str, method: str) -> None:
    assert visitor.get("home/").status_code == 200
    assert getattr(visitor, method)(path).status_code == 403
    assert visitor.get("home/").status_code == 403
    (block,) = Block.objects.all()
    assert (block.network, block.rule) == (ADDRESS, "trap")
    assert durations() == [900]


@pytest.mark.parametrize(
    "path", ["/wp-login.phpx", "/x/wp-login.php", "/.github", "/.gitignore", "/c.asp/x", "/c.aspx"]
)
def test_what_only_looks_like_a_trap_is_none(
    visitor: Visitor, trapped: Configure, events: CapturedEvents, path: str
) -> None:
    assert visitor.get(path).status_code == 404
    assert visitor.get("home/").status_code == 200
    assert events == []


def test_a_query_makes_no_trap_and_hides_none(visitor: Visitor, trapped: Configure) -> None:
    assert visitor.get(f"{visitor.path('home/')}?next=/wp-login.php").status_code == 200
    assert visitor.get("/wp-login.php?next=/").status_code == 403


def test_a_hit_is_one_event_and_a_block_and_its_answer_is_the_refusal(
    visitor: Visitor, trapped: Configure, events: CapturedEvents
) -> None:
    answer = visitor.get("/.git/config")
    assert events.types == ["trap_hit", "suspicious_activity", "address_blocked", "request_blocked"]
    hit, threat, _, refused = events
    assert (hit.context["ip_address"], hit.context["path"]) == (ADDRESS, "/.git/config")
    assert (threat.context["rule"], threat.context["technique"]) == ("trap", "T1595.003")
    assert json.loads(answer.content)["reference"] == refused.context["reference"]
    assert answer["Retry-After"] == "900"


def test_no_view_and_no_session_is_behind_a_trap(visitor: Visitor, configure: Configure) -> None:
    configure(TRAP_PATHS=["/healthz"])
    answer = visitor.get("/healthz")
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/json")
    assert not answer.cookies


def test_of_ipv6_the_64_is_blocked(visit: Visit, trapped: Configure) -> None:
    visit("2001:db8::1").get("/wp-login.php")
    assert visit("2001:db8::2").get("home/").status_code == 403


def test_who_walks_into_a_trap_again_is_blocked_for_longer(visitor: Visitor, trapped: Configure, later: Later) -> None:
    visitor.get("/wp-login.php")
    later(900)
    visitor.get("/wp-login.php")
    assert retry_after(visitor) == HOUR


def test_a_block_that_ends_before_its_threat_is_raised_again_by_the_next_hit(
    visitor: Visitor, configure: Configure, clock: ManualClock, events: CapturedEvents
) -> None:
    configure(TRAP_PATHS=TRAPS, BLOCK_DURATION=60, SYNC_INTERVAL=HOUR)
    visitor.get("/wp-login.php")
    clock.advance(60)
    assert visitor.get("home/").status_code == 200
    assert visitor.get("/wp-login.php").status_code == 403
    assert len(events.of("suspicious_activity")) == 1
    assert len(events.of("address_blocked")) == 2


def test_neighbours_in_a_trap_make_a_network(visit: Visit, trapped: Configure) -> None:
    for address in ipv6(8):
        visit(address).get("/wp-login.php")
    assert networks() == ["2001:db8::/56"]


@pytest.mark.parametrize(
    ("secguard", "reason"),
    [
        ({"MODE": "monitor"}, "monitor"),
        ({"ALLOWLIST": ["192.0.2.0/24"]}, "allowlist"),
        ({"TRUSTED_PROXIES": ["192.0.2.0/24"]}, "trusted_proxy"),
        ({"EXEMPT_WHEN": lambda request: True}, "exempt"),
    ],
    ids=["monitor", "allowlist", "proxy", "exempt"],
)
def test_whom_nothing_may_refuse_is_told_of_and_served(
    visitor: Visitor, configure: Configure, events: CapturedEvents, secguard: dict[str, Any], reason: str
) -> None:
    configure(TRAP_PATHS=TRAPS, **secguard)
    assert visitor.get("/wp-login.php").status_code == 404
    assert visitor.get("home/").status_code == 200
    assert not Block.objects.exists()
    assert events.types == ["trap_hit", "suspicious_activity", "block_suppressed"]
    assert events[-1].context["reason"] == reason


def test_whom_an_operator_allowed_is_told_of_and_served(visitor: Visitor, trapped: Configure, events: Any) -> None:
    allow_network(ADDRESS)
    assert visitor.get("/wp-login.php").status_code == 404
    assert not Block.objects.exists()
    assert events.types == ["network_allowed", "trap_hit", "suspicious_activity", "block_suppressed"]
    assert events[-1].context["reason"] == "allowed"


def test_off_there_are_no_traps(visitor: Visitor, configure: Configure, events: CapturedEvents) -> None:
    configure(TRAP_PATHS=TRAPS, MODE="off")
    assert visitor.get("/wp-login.php").status_code == 404
    assert events == []


def test_without_the_rule_a_hit_is_an_event_and_no_more(
    visitor: Visitor, configure: Configure, events: CapturedEvents
) -> None:
    configure(TRAP_PATHS=TRAPS, RULES={"trap": None})
    assert visitor.get("/wp-login.php").status_code == 404
    assert events.types == ["trap_hit"]


def test_the_rule_may_be_more_patient(visitor: Visitor, configure: Configure) -> None:
    configure(TRAP_PATHS=TRAPS, RULES={"trap": {"threshold": 2}})
    assert [visitor.get("/wp-login.php").status_code for _ in range(2)] == [404, 403]


# -- presets ---------------------------------------------------------------------------------------------


def test_the_strict_preset_blocks_an_hour_and_a_network_of_four(
    visit: Visit, configure: Configure, later: Later
) -> None:
    configure(PRESET="strict")
    for address in ipv4(4):
        visit(address).guess(5)
    assert durations()[:4] == [HOUR] * 4
    assert networks() == ["198.51.100.0/24"]
    assert visit("198.51.100.99").log_in().status_code == 403


def test_what_is_said_beside_a_preset_beats_it(visit: Visit, configure: Configure) -> None:
    configure(PRESET="strict", BLOCK_DURATION=60, NETWORK_ACTION_IPV4="off", RULES=AT_ONCE)
    block_all(visit, ipv4(4))
    assert durations() == [60] * 4


def test_the_pci_preset_locks_an_account_after_ten_attempts_from_anywhere(
    visit: Visit, configure: Configure, events: CapturedEvents
) -> None:
    configure(PRESET="pci")
    for address in ipv4(5):
        assert visit(address).guess(2) == [200] * 2
    stranger = visit("203.0.113.1")
    assert stranger.log_in().status_code == 403
    assert stranger.log_in("bert").status_code == 302
    lock = AccountLock.objects.get()
    assert (lock.account, lock.rule, lock.scope) == ("anna", "account_failures", "all")
    assert lock.expires_at is not None
    assert (lock.expires_at - lock.created_at).total_seconds() == 1_800
    (locked,) = events.of("account_locked")
    assert (locked.context["username"], locked.context["rule"]) == ("anna", "account_failures")


def test_with_the_pci_preset_the_account_begins_at_nought_when_its_lock_has_ended(
    visit: Visit, configure: Configure, clock: ManualClock
) -> None:
    configure(PRESET="pci")
    for address in ipv4(5):
        visit(address).guess(2)
    assert visit("203.0.113.1").log_in().status_code == 403
    clock.advance(1_801)
    AccountLock.objects.update(expires_at=F("created_at"))
    assert visit("203.0.113.1").log_in().status_code == 302


def test_the_nist_preset_locks_an_account_after_a_hundred_failures_in_a_row(
    visit: Visit, configure: Configure, events: CapturedEvents
) -> None:
    configure(PRESET="nist")
    for address in ipv4(25):
        assert visit(address).guess(4) == [200] * 4
    assert visit("203.0.113.1").log_in().status_code == 403
    assert visit("203.0.113.1").log_in("bert").status_code == 302
    lock = AccountLock.objects.get()
    assert (lock.account, lock.scope, lock.expires_at) == ("anna", "all", None)
    (exceeded,) = events.of("consecutive_failures_exceeded")
    assert (exceeded.context["username"], exceeded.context["count"]) == ("anna", 100)


def test_the_nist_preset_begins_anew_with_a_login(visit: Visit, configure: Configure) -> None:
    configure(PRESET="nist")
    for address in ipv4(24):
        visit(address).guess(4)
    assert visit("203.0.113.1").log_in().status_code == 302
    visit("203.0.113.2").guess(4)
    assert visit("203.0.113.1").log_in().status_code == 302


def test_the_default_preset_locks_nobody(visit: Visit, configure: Configure) -> None:
    configure(PRESET="default")
    for address in ipv4(6):
        visit(address).guess(4)
    assert visit("203.0.113.1").log_in().status_code == 302
    assert not AccountLock.objects.exists()
