"""From an open threat to a block or a lock, or to the reason why there is none."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

from secguard.blocking.locks import ALL, UNKNOWN_DEVICES
from secguard.blocking.replica import Replica
from secguard.conf import Settings
from secguard.detection import Action, Threat
from secguard.detection.detector import account_digest
from secguard.detection.rule import MAX_BLOCK
from secguard.failures import report_failure
from secguard.network import ClientAddress

#: The rule that stands with a block of a network whose addresses were blocked one by one.
NETWORK_RULE = "blocked_neighbours"
#: To which prefixes many blocked addresses (IPv6: /64) are raised, narrowest first.
_PREFIXES = {4: (24,), 6: (56, 48)}


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """A block to be: ``network`` in canonical form (an address, or CIDR), ``duration`` seconds or None for ever.

    ``offence``: the how manieth of this network, as far as is remembered.
    """

    network: str
    duration: float | None
    rule: str = ""
    reason: str = ""
    by: str = ""
    counter: str = ""  # the key of the record that tripped the rule: lifting the block drops it
    reference: str = field(default_factory=lambda: str(uuid.uuid4()))
    offence: int = 1


@dataclass(frozen=True, slots=True)
class LockRequest:
    """A lock to be: ``digest`` of the account in hexadecimal, ``duration`` seconds or None until it is lifted."""

    account: str
    digest: str
    duration: float | None
    scope: str = ALL
    rule: str = ""
    reason: str = ""
    by: str = ""
    counter: str = ""
    reference: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A decision that is not taken: ``subject`` is whom it would have hit.

    ``reason``: monitor, allowlist, allowed (by an operator), exempt (by the project's own function), trusted_proxy,
    unknown_address or full.
    """

    subject: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A network that an operator may want to block: ``count`` of its addresses are."""

    network: str
    count: int


Decision: TypeAlias = "BlockRequest | LockRequest | Suppressed"


def spread() -> float:
    """A number from -1 to 1."""
    return random.uniform(-1, 1)  # noqa: S311 - spreads, and hides nothing


class Policy:
    """What follows from threats, under these settings and with these blocks in force.

    ``offences``: network → how many blocks of rules it had lately. ``jitter``: → a number from -1 to 1.
    """

    def __init__(
        self,
        settings: Settings,
        replica: Replica,
        offences: Callable[[str], int] = lambda network: 0,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._settings, self._replica = settings, replica
        self._offences, self._jitter = offences, jitter or spread

    def decide(self, threat: Threat, address: ClientAddress, *, exempt: bool = False) -> Decision | None:
        """What follows from a threat; None if its rule asks for nothing. ``exempt``: the project says so."""
        if self._settings.mode == "off":
            return None
        if threat.rule.action is Action.BLOCK:
            return self._block(threat, address, exempt)
        if threat.rule.action is Action.LOCK and self._settings.account_lockout != "off":
            return self._lock(threat)
        return None

    def _block(self, threat: Threat, address: ClientAddress, exempt: bool) -> BlockRequest | Suppressed:
        network = threat.subject if threat.rule.subject == "network" else address.subject
        reason = self._suppression(address) or ("exempt" if exempt else "")
        if reason:
            return Suppressed(network, threat.rule.name, reason)
        if self._replica.active() >= self._settings.max_active_blocks:
            return self._raised(threat, address) or Suppressed(network, threat.rule.name, "full")
        why = f"{threat.count} events of rule {threat.rule.name}"
        return self._request(network, threat, why, counter=threat.key.decode())

    def _suppression(self, address: ClientAddress) -> str:
        if not address.known:
            return "unknown_address"
        if address.allowlisted:
            return "allowlist"
        if address.trusted_proxy:
            return "trusted_proxy"
        if self._replica.is_allowed(address):
            return "allowed"
        return "monitor" if self._settings.mode == "monitor" else ""

    def _lock(self, threat: Threat) -> LockRequest | Suppressed:
        if self._settings.mode == "monitor":
            return Suppressed(threat.subject, threat.rule.name, "monitor")
        return LockRequest(
            threat.subject,
            account_digest(threat.key),
            self._settings.lock_duration,
            UNKNOWN_DEVICES if self._settings.account_lockout == UNKNOWN_DEVICES else ALL,
            threat.rule.name,
            f"{threat.count} events of rule {threat.rule.name}",
            counter=threat.key.decode(),
        )

    def _request(self, network: str, threat: Threat, reason: str, *, rule: str = "", counter: str = "") -> BlockRequest:
        offence = self._offences(network) + 1
        seconds = self.duration(threat, offence)
        return BlockRequest(network, seconds, rule or threat.rule.name, reason, counter=counter, offence=offence)

    def duration(self, threat: Threat, offence: int) -> float:
        """Seconds for the offence of this number, the first being 1."""
        ladder: Any = threat.rule.block_duration
        ladder = self._settings.block_duration if ladder is None else ladder
        if callable(ladder):
            seconds = _asked(ladder, offence, threat)
        elif isinstance(ladder, tuple):
            seconds = float(ladder[min(offence, len(ladder)) - 1])
        else:
            seconds = float(ladder)
        # Attackers who were blocked together must not come back together.
        seconds *= 1 + self._settings.block_jitter * self._jitter()
        return max(1.0, round(seconds, 0 if seconds >= 60 else 1))

    # -- networks ------------------------------------------------------------------------------------------

    def widen(self, threat: Threat, address: ClientAddress) -> BlockRequest | Proposal | None:
        """After a block of an address: are so many of its neighbours blocked that the network is meant?"""
        action = self._network_action(address) if not self._suppression(address) else "off"
        if action == "off":
            return None
        threshold = self._settings.network_threshold
        found: tuple[str, int] | None = None
        for prefix in _PREFIXES[address.version]:
            count = self._replica.count_inside(address, prefix)
            # The narrowest network that holds so many; a wider one, if as many again come from beside it.
            if count - (found[1] if found else 0) >= threshold:
                found = (address.network_of(prefix), count)
        if found is None or action == "propose":
            return found and Proposal(*found)
        network, count = found
        return self._request(network, threat, f"{count} of its addresses are blocked", rule=NETWORK_RULE)

    def _raised(self, threat: Threat, address: ClientAddress) -> BlockRequest | None:
        """No further address may be blocked: its network is, if it has blocked addresses already."""
        prefix = _PREFIXES[address.version][-1]
        count = self._replica.count_inside(address, prefix) if self._network_action(address) == "block" else 0
        if not count:
            return None
        why = f"{count + 1} of its addresses attack, and MAX_ACTIVE_BLOCKS is reached"
        return self._request(address.network_of(prefix), threat, why, rule=NETWORK_RULE)

    def _network_action(self, address: ClientAddress) -> str:
        return self._settings.network_action_ipv4 if address.version == 4 else self._settings.network_action_ipv6


def _asked(ladder: Callable[..., Any], offence: int, threat: Threat) -> float:
    """What the project's own function says, within bounds; a quarter of an hour if it fails."""
    try:
        found = ladder(offence, threat)
        seconds = found.total_seconds() if isinstance(found, timedelta) else float(found)
        if not 1 <= seconds <= MAX_BLOCK:
            raise ValueError(f"it returned {seconds}, which is not from 1 to {MAX_BLOCK} seconds")
    except Exception:
        report_failure("the block_duration of rule %r failed; its block lasts 15 minutes", threat.rule.name)
        return 900.0
    return seconds
