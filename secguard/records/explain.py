"""All that is known of an address, a network or an account, and what would become of it now.

Nothing is changed. Raises the database's errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from secguard.blocking.policy import Policy
from secguard.conf import get_settings
from secguard.context import get_resolver
from secguard.detection import Action, Observation, Threat
from secguard.logging import get_event_logger
from secguard.models import AccountLock, AllowedNetwork, Block, Decision, FailureCount, in_force_at
from secguard.network import ClientAddress, Network, NetworkSet, is_one_client, parse_network
from secguard.pipeline import get_replica, get_store
from secguard.records.accounts import account_of, find_user
from secguard.records.database import count_offences, database, database_now
from secguard.records.operators import canonical_network
from secguard.records.readings import Reading, read

#: Decisions of the past that are shown, at most.
HISTORY = 50


@dataclass(frozen=True, slots=True)
class Past:
    """One decision. ``kind``: block, lock or allowed. ``state``: in force, lifted or expired."""

    kind: str
    subject: str
    state: str
    reference: str
    rule: str
    list_name: str
    scope: str
    reason: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    seconds_left: float | None
    lifted_at: datetime | None
    lifted_by: str
    lift_reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard does. ``reason``: a word for programs. ``seconds``: for how long, None if nobody can say.

    ``rule``, ``list_name`` or ``by``: who decided so.
    """

    refused: bool
    reason: str
    seconds: float | None = None
    reference: str = ""
    rule: str = ""
    list_name: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """``request``: what becomes of any request, for an address. ``login``: of an attempt to log in.

    ``offences``: blocks of rules that are remembered; ``next_blocks``: seconds that the next would last, by rule.
    """

    subject: str
    kind: str
    request: Verdict | None
    login: Verdict
    readings: list[Reading]
    counters_known: bool
    history: list[Past]
    counted_as: str = ""
    network: str = ""
    allowlisted: bool = False
    trusted_proxy: bool = False
    allowed: bool = False
    offences: int = 0
    next_blocks: dict[str, float] = field(default_factory=dict)
    consecutive_failures: int | None = None
    failing_since: datetime | None = None


def explain_address(address: ClientAddress) -> Explanation:
    """An address that is known."""
    history = _networks(covering_names(parse_network(address.text)))
    readings, known = _readings(Observation(address.subject, address.network))
    request = _request_verdict(address, history)
    offences = _offences(address.subject, history)
    return Explanation(
        address.text,
        "address",
        request,
        request if request.refused else _login_verdict(readings, _may_refuse(address, history)),
        readings,
        known,
        history,
        counted_as=address.subject,
        network=address.network,
        allowlisted=address.allowlisted,
        trusted_proxy=address.trusted_proxy,
        allowed=_is_allowed(history),
        offences=offences,
        next_blocks=_next_blocks(address, offences + 1),
    )


def explain_network(network: Network) -> Explanation:
    """A network: the decisions about it and about what contains it, and its counters, if rules count such networks."""
    history = _networks(covering_names(network))
    counted = network.prefixlen == (24 if network.version == 4 else 48)
    readings, known = _readings(Observation(network=str(network) if counted else ""))
    blocks = _of(history, "block")
    resolver = get_resolver()
    pardons = {
        "allowlist": _is_inside(network, resolver.allowlist),
        "trusted_proxy": _is_inside(network, resolver.trusted_proxies),
        "allowed": _is_allowed(history),
    }
    request = _blocked_verdict(blocks) if blocks else Verdict(False, "not_blocked")
    if request.refused:
        request = next((Verdict(False, name) for name, holds in pardons.items() if holds), request)
    offences = _offences(canonical_network(str(network)), history)
    return Explanation(
        str(network), "network", request, request, readings, known, history, allowlisted=pardons["allowlist"],
        trusted_proxy=pardons["trusted_proxy"], allowed=pardons["allowed"], offences=offences,
    )  # fmt: skip


def explain_any(network: Network) -> Explanation:
    """The address of one client, or a network. Raises the database's errors."""
    address = get_resolver().address(str(network.network_address)) if is_one_client(network) else None
    return explain_address(address) if address else explain_network(network)


def _is_inside(network: Network, others: NetworkSet) -> bool:
    """Is all of it in one of them?"""
    first = int(network.network_address)
    return any(
        each.prefixlen <= network.prefixlen and NetworkSet([each]).contains(network.version, first) for each in others
    )


def explain_account(account: str, address: ClientAddress | None = None) -> Explanation:
    """An account, by an identifier or its digest; with an address its counters of both together too.

    Raises ValueError for what is no account.
    """
    found = account_of(account)
    who = Observation(address.subject if address else "", account=found.name, user=_primary_key(found.name))
    readings, known = _readings(who)
    readings = [each for each in readings if each.kind not in ("address", "network")]
    alias = database()
    now = database_now(alias)
    rows = AccountLock.objects.using(alias).filter(Q(digest__in=found.digests) | Q(account=found.name[:254]))
    history = _history("lock", rows, now, found.name)
    failures = FailureCount.objects.using(alias).filter(digest__in=found.digests).order_by("-count").first()
    return Explanation(
        found.name,
        "account",
        None,
        _lock_verdict(history) or _login_verdict(readings, get_settings().enforces),
        readings,
        known,
        history,
        consecutive_failures=failures.count if failures else None,
        failing_since=failures.since if failures else None,
    )


def _readings(who: Observation) -> tuple[list[Reading], bool]:
    """The counters, and whether they are those of all processes."""
    store = get_store()
    readings = read(who)
    return readings, not store.degraded


def _primary_key(account: str) -> str | None:
    """The user of this name or mail address, where rules are over users."""
    if not any(rule.subject == "user" for rule in get_event_logger().pipeline.detector.rules.values()):
        return None
    user = find_user(account)
    return None if user is None else str(user.pk)


# -- decisions -------------------------------------------------------------------------------------------------------


def covering_names(network: Network) -> list[str]:
    """Every network, as it is spelt in the tables, that includes this one; itself too."""
    names = [str(network.supernet(new_prefix=prefix)) for prefix in range(network.prefixlen + 1)]
    if network.prefixlen == network.max_prefixlen and network.version == 4:
        names.append(str(network.network_address))
    return names


def _networks(names: list[str]) -> list[Past]:
    alias = database()
    now = database_now(alias)
    blocks = _history("block", Block.objects.using(alias).filter(network__in=names), now)
    allowed = _history("allowed", AllowedNetwork.objects.using(alias).filter(network__in=names), now)
    return sorted([*blocks, *allowed], key=lambda each: each.created_at, reverse=True)


def _history(kind: str, rows: QuerySet[Any], now: datetime, subject: str = "") -> list[Past]:
    """All that is in force, and the latest of what is not; ``subject``: what to show where a row has lost its name."""
    holds = in_force_at(now)
    chosen = [*rows.filter(holds), *rows.exclude(holds)[:HISTORY]]
    chosen.sort(key=lambda row: row.created_at, reverse=True)
    return [_past(kind, getattr(row, "network", "") or row.account or subject, row, now) for row in chosen]


def _past(kind: str, subject: str, row: Decision, now: datetime) -> Past:
    left = None if row.expires_at is None else (row.expires_at - now).total_seconds()
    state = row.state_at(now)
    return Past(
        kind,
        subject,
        state,
        str(row.reference),
        row.rule,
        getattr(row, "list_name", ""),
        getattr(row, "scope", ""),
        row.reason,
        row.created_at,
        row.created_by,
        row.expires_at,
        left if state == "in force" else None,
        row.lifted_at,
        row.lifted_by,
        row.lift_reason,
    )


def _of(history: list[Past], kind: str) -> list[Past]:
    return [each for each in history if each.kind == kind and each.state == "in force"]


def _offences(network: str, history: list[Past]) -> int:
    """Those that are over, and the one that goes on."""
    goes_on = any(each.rule and each.subject == network for each in _of(history, "block"))
    return count_offences(network) + goes_on


def _is_allowed(history: list[Past]) -> bool:
    return bool(_of(history, "allowed"))


# -- what becomes of it ----------------------------------------------------------------------------------------------


def _request_verdict(address: ClientAddress, history: list[Past]) -> Verdict:
    """As the middleware decides, but for what it asks the request: EXEMPT_PATHS and EXEMPT_WHEN."""
    settings, blocks = get_settings(), _of(history, "block")
    if settings.mode == "off":
        return Verdict(False, "off")
    if not blocks:
        return Verdict(False, "not_blocked")
    pardons = {
        "allowlist": address.allowlisted,
        "trusted_proxy": address.trusted_proxy,
        "allowed": _is_allowed(history),
        "monitor": not settings.enforces,
    }
    return next((Verdict(False, name) for name, holds in pardons.items() if holds), _blocked_verdict(blocks))


def _blocked_verdict(blocks: list[Past]) -> Verdict:
    if not get_settings().enforces:
        return Verdict(False, get_settings().mode)
    return _decided("blocked", blocks)


def _decided(reason: str, decisions: list[Past]) -> Verdict:
    """Of several decisions the one that lasts longest says for how long."""
    last = max(decisions, key=lambda each: float("inf") if each.seconds_left is None else each.seconds_left)
    return Verdict(True, reason, last.seconds_left, last.reference, last.rule, last.list_name, last.created_by)


def _may_refuse(address: ClientAddress, history: list[Past]) -> bool:
    return get_settings().enforces and not (address.exempt or _is_allowed(history))


def _login_verdict(readings: list[Reading], may_refuse: bool) -> Verdict:
    """As a reservation decides, but for attempts in flight."""
    full = [each for each in readings if each.refuses and each.is_full]
    if not full:
        return Verdict(False, "below_limits")
    if not may_refuse:
        return Verdict(False, "not_enforced")
    ends = [each.below_threshold_in for each in full]
    last = full[0] if None in ends else max(full, key=lambda each: each.below_threshold_in or 0)
    return Verdict(True, "limit", None if None in ends else last.below_threshold_in, rule=last.rule)


def _lock_verdict(history: list[Past]) -> Verdict | None:
    locks = _of(history, "lock")
    if not locks or not get_settings().enforces:
        return None
    for_all = [each for each in locks if each.scope == AccountLock.Scope.ALL]
    return _decided("locked", for_all) if for_all else _decided("locked_for_unknown_devices", locks)


def _next_blocks(address: ClientAddress, offence: int) -> dict[str, float]:
    """How long each blocking rule would block this address for, before jitter."""
    policy = Policy(get_settings(), get_replica(), jitter=lambda: 0.0)
    rules: Any = get_event_logger().pipeline.detector.rules.values()
    return {
        rule.name: policy.duration(Threat(rule, address.subject, rule.threshold), offence)
        for rule in rules
        if rule.action is Action.BLOCK and rule.subject in ("address", "pair")
    }
