"""Tell all that is known of an address, a network or an account: what would become of it now, and why.

With --header, what the proxies made of a request: hop by hop which entry is taken as the client, and then all about
that address.

Exit codes: 0 told, 1 wrong input, 4 the store is away: the counters shown are not those of the site.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard.conf import get_settings
from secguard.context import get_resolver
from secguard.management.arguments import anybody, existing_name
from secguard.management.console import cell, duration, number_of, write_facts, write_json, write_table
from secguard.network import parse_network
from secguard.network.trace import Trace, trace
from secguard.pipeline import get_store
from secguard.records.explain import (
    Explanation,
    Past,
    Verdict,
    explain_account,
    explain_address,
    explain_any,
)
from secguard.records.readings import Reading

STORE_AWAY = 4
_COUNTERS = ("rule", "over", "count", "threshold", "window", "threat", "below_threshold", "empty")
_DECISIONS = ("what", "whom", "state", "rule", "since", "ends", "by", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", help="an address or network, or else an account's name")
    parser.add_argument("--account", metavar="NAME", help="an account; with an address: what both have together, too")
    parser.add_argument("--header", action="append", metavar="'NAME: VALUE'", help="a header of a request; repeatable")
    parser.add_argument("--remote-addr", metavar="ADDRESS", help="its peer (default: the address that is asked about)")


def handle(command: BaseCommand, **options: Any) -> int:
    way = _way(options) if options["header"] or options["remote_addr"] is not None else None
    explanations = _explanations(options, way)
    shared = get_store().shared
    if options["json"]:
        facts = {"counters_shared": shared, "way": way and _way_facts(way)}
        write_json(command, {**facts, "explanations": [_facts(each) for each in explanations]})
    else:
        if way:
            _print_way(command, way, options)
        for number, each in enumerate(explanations):
            if number or way:
                command.stdout.write("")
            _print(command, each)
        if not shared:
            command.stdout.write("")
            text = "The counters are each process's own: this command does not see those of the servers."
            command.stdout.write(command.style.WARNING(text))
    return 0 if all(each.counters_known for each in explanations) else STORE_AWAY


def _explanations(options: dict[str, Any], way: Trace | None) -> list[Explanation]:
    if way is not None:
        return [explain_address(way.client)] if way.client.known else []
    text, account = options["subject"], options["account"]
    address = get_resolver().address(text) if text else None
    if address is not None:
        found = [explain_address(address)]
        return [*found, explain_account(existing_name(account), address)] if account is not None else found
    subject = anybody(text, account)
    if subject.account:
        return [explain_account(subject.account)]
    return [explain_any(parse_network(subject.network))]


# -- the way through the proxies -------------------------------------------------------------------------------------


def _way(options: dict[str, Any]) -> Trace:
    headers: dict[str, list[str]] = {}
    for given in options["header"] or ():
        name, colon, value = given.partition(":")
        if not colon or not name.strip():
            raise CommandError(f"--header {given!r} is no header: give 'X-Forwarded-For: 203.0.113.7, 10.0.0.2'.")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    lines = {name: ", ".join(values) for name, values in headers.items()}
    peer = options["remote_addr"] if options["remote_addr"] is not None else options["subject"]
    return trace(get_resolver(), peer, lambda name: lines.get(name.lower()))


def _way_facts(way: Trace) -> dict[str, Any]:
    hops = [{"source": hop.source, "text": hop.text, "verdict": hop.verdict} for hop in way.hops]
    client = {"client": way.client.text or None, "unknown_because": way.client.reason or None}
    return {"hops": hops, **client, "why": way.why, **_proxy_settings()}


def _proxy_settings() -> dict[str, Any]:
    proxies = get_settings().trusted_proxies
    return {"header": get_resolver().header, "trusted_proxies": proxies.networks, "hops_expected": proxies.hops}


def _print_way(command: BaseCommand, way: Trace, options: dict[str, Any]) -> None:
    rows = [{"from": hop.source, "entry": hop.text, "verdict": hop.verdict} for hop in way.hops]
    write_table(command, rows, ("from", "entry", "verdict"))
    command.stdout.write("")
    if way.client.known:
        command.stdout.write(f"The client is {way.client.text}: {way.why}.")
    else:
        command.stdout.write(f"The client is unknown, and refused by no address: {way.why}.")
    wanted = options["subject"]
    expected = get_resolver().address(wanted) if wanted and options["remote_addr"] is not None else None
    if expected is not None and expected != way.client:
        command.stdout.write(command.style.WARNING(f"It is not {expected.text}."))
    settings = _proxy_settings()
    names = ", ".join(settings["trusted_proxies"]) or "none"
    hops = "" if settings["hops_expected"] is None else f", {number_of(settings['hops_expected'], 'hop')}"
    command.stdout.write(f"CLIENT_IP_HEADER is {settings['header']}; TRUSTED_PROXIES: {names}{hops}.")
    other = [given for given in options["header"] or () if not _is_header(given, settings["header"])]
    if other:
        command.stdout.write(f"Not read at all: {', '.join(cell(given.partition(':')[0]) for given in other)}.")


def _is_header(given: str, name: str) -> bool:
    return given.partition(":")[0].strip().lower() == name.lower()


# -- a subject -------------------------------------------------------------------------------------------------------


def _facts(found: Explanation) -> dict[str, Any]:
    return {
        "subject": found.subject,
        "kind": found.kind,
        "request": found.request,
        "login": found.login,
        "counted_as": found.counted_as,
        "network": found.network,
        "allowlisted": found.allowlisted,
        "trusted_proxy": found.trusted_proxy,
        "allowed": found.allowed,
        "offences": found.offences,
        "next_blocks": found.next_blocks,
        "consecutive_failures": found.consecutive_failures,
        "failing_since": found.failing_since,
        "counters_known": found.counters_known,
        "counters": found.readings,
        "history": found.history,
    }


def _print(command: BaseCommand, found: Explanation) -> None:
    printers = {"address": _address_facts, "network": _network_facts, "account": _account_facts}
    write_facts(command, printers[found.kind](found))
    if not found.counters_known:
        command.stdout.write(command.style.WARNING("The store is away: the counters are those of this process alone."))
    if found.readings:
        command.stdout.write("")
        write_table(command, [_counter_row(each) for each in found.readings], _COUNTERS)
    if found.history:
        command.stdout.write("")
        write_table(command, [_decision_row(each) for each in found.history], _DECISIONS)
        lifted = [each for each in found.history if each.lifted_at]
        if lifted:
            command.stdout.write("")
        for each in lifted:
            why = f": {cell(each.lift_reason)}" if each.lift_reason else ""
            by = cell(each.lifted_by) if each.lifted_by else "somebody"
            command.stdout.write(f"{each.reference} was lifted by {by} at {cell(each.lifted_at)}{why}")


def _address_facts(found: Explanation) -> dict[str, Any]:
    request = found.request or found.login
    exempt = [f"EXEMPT_PATHS {path}" for path in get_settings().exempt_paths]
    exempt += ["EXEMPT_WHEN"] if get_settings().exempt_when else []
    return {
        "address": found.subject,
        "counted as": f"{found.counted_as}, in {found.network}",
        "a request": _told(request),
        **({"served all the same": ", ".join(exempt)} if request.refused and exempt else {}),
        "a login": "the same" if found.login == request and request.refused else _told(found.login),
        "never refused": _never_refused(found),
        "offences": f"{found.offences} remembered",
        "next block": ", ".join(f"{rule} {duration(seconds)}" for rule, seconds in found.next_blocks.items()),
    }


def _network_facts(found: Explanation) -> dict[str, Any]:
    return {
        "network": found.subject,
        "a request": _told(found.login),
        "never refused": _never_refused(found),
        "offences": f"{found.offences} remembered",
    }


def _never_refused(found: Explanation) -> str:
    said_by = {"ALLOWLIST": found.allowlisted, "TRUSTED_PROXIES": found.trusted_proxy, "an operator": found.allowed}
    return ", ".join(name for name, holds in said_by.items() if holds) or "no"


def _account_facts(found: Explanation) -> dict[str, Any]:
    facts = {"account": found.subject, "a login": _told(found.login)}
    if found.consecutive_failures is not None:
        facts["failures in a row"] = f"{found.consecutive_failures:,} since {cell(found.failing_since)}"
    return facts


def _told(verdict: Verdict) -> str:
    return _SAID[verdict.reason](verdict)


def _for(verdict: Verdict) -> str:
    if verdict.rule:
        by = f" by rule {verdict.rule}"
    elif verdict.list_name:
        by = f" by list {verdict.list_name}"
    else:
        by = f" by {cell(verdict.by)}" if verdict.by else ""
    return f"{by}, {'for good' if verdict.seconds is None else 'for another ' + duration(verdict.seconds)}"


_SAID: dict[str, Callable[[Verdict], str]] = {
    "off": lambda verdict: "served: MODE is off",
    "monitor": lambda verdict: "served, though blocked: MODE is monitor",
    "not_blocked": lambda verdict: "served: not blocked",
    "allowlist": lambda verdict: "served, though blocked: it is in ALLOWLIST",
    "trusted_proxy": lambda verdict: "served, though blocked: it is a trusted proxy",
    "allowed": lambda verdict: "served, though blocked: an operator allowed it",
    "blocked": lambda verdict: f"refused: blocked{_for(verdict)} ({verdict.reference})",
    "locked": lambda verdict: f"refused: locked{_for(verdict)} ({verdict.reference})",
    "locked_for_unknown_devices": lambda verdict: (
        f"refused from unknown devices: locked{_for(verdict)} ({verdict.reference})"
    ),
    "below_limits": lambda verdict: "its password is checked: no limit is reached",
    "not_enforced": lambda verdict: "its password is checked: a limit is reached, and nothing refuses it",
    "limit": lambda verdict: (
        f"refused: the limit of rule {verdict.rule} is reached, "
        + ("until its window has passed" if verdict.seconds is None else f"for another {duration(verdict.seconds)}")
    ),
}


def _counter_row(reading: Reading) -> dict[str, Any]:
    full, some = reading.is_full, reading.count > 0
    return {
        "rule": reading.rule,
        "over": reading.kind,
        "count": reading.count,
        "threshold": reading.threshold,
        "window": duration(reading.window),
        "threat": "open" if reading.threat_open else None,
        "below_threshold": _in(reading.below_threshold_in, reading.window) if full else None,
        "empty": _in(reading.empty_in, reading.window) if some else None,
    }


def _in(seconds: float | None, window: float) -> str:
    """When, if nothing else happens; an approximate store knows that it is within the window."""
    return f"within {duration(window)}" if seconds is None else f"in {duration(seconds)}"


def _decision_row(past: Past) -> dict[str, Any]:
    return {
        "what": past.kind if not past.scope or past.scope == "all" else f"{past.kind} ({past.scope})",
        "whom": past.subject,
        "state": past.state,
        "rule": past.rule or (f"list {past.list_name}" if past.list_name else ""),
        "since": past.created_at,
        "ends": past.expires_at or "for good",
        "by": past.created_by,
        "reason": past.reason,
    }
