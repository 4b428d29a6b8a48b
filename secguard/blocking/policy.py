"""From an open threat to a block, or to the reason why there is none."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from secguard.conf import Settings
from secguard.detection import Action, Threat
from secguard.network import ClientAddress


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """A block to be: ``network`` in canonical form (an address, or CIDR), ``duration`` seconds or None for ever."""

    network: str
    duration: float | None
    rule: str = ""
    reason: str = ""
    by: str = ""
    counter: str = ""  # the key of the record that tripped the rule: lifting the block drops it
    reference: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A block that is not raised: ``reason`` is monitor, allowlist, trusted_proxy, unknown_address or full."""

    network: str
    rule: str
    reason: str


def decide(threat: Threat, address: ClientAddress, settings: Settings, active: int) -> BlockRequest | Suppressed | None:
    """What follows from a threat. ``active``: automatic blocks in force. None if its rule only logs."""
    if threat.rule.action is not Action.BLOCK or settings.mode == "off":
        return None
    network = threat.subject if threat.rule.subject == "network" else address.subject
    reason = _suppression(address, settings, active)
    if reason:
        return Suppressed(network, threat.rule.name, reason)
    duration = threat.rule.block_duration
    seconds = settings.block_duration if duration is None else float(duration)  # type: ignore[arg-type]
    return BlockRequest(
        network,
        seconds,
        threat.rule.name,
        f"{threat.count} events of rule {threat.rule.name}",
        counter=threat.key.decode(),
    )


def _suppression(address: ClientAddress, settings: Settings, active: int) -> str:
    if not address.known:
        return "unknown_address"
    if address.allowlisted:
        return "allowlist"
    if address.trusted_proxy:
        return "trusted_proxy"
    if settings.mode == "monitor":
        return "monitor"
    return "full" if active >= settings.max_active_blocks else ""
