"""What somebody means who types an address, an account or an id."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import NamedTuple
from uuid import UUID

from django.utils.translation import gettext as _

from secguard.admin.narrowing import Condition
from secguard.detection import normalize_identifier
from secguard.logging import get_event_logger
from secguard.models import EventRecord
from secguard.network import SUBJECT_PREFIXES, Network, parse_network
from secguard.privacy import PSEUDONYM, forms_of_address, shown_address
from secguard.records import canonical_network
from secguard.records.accounts import means_digest

#: Networks of so many addresses, or /64 of IPv6, can be searched for at once: a /24, a /56.
MOST_NETWORKS = 256


class Found(NamedTuple):
    """``conditions``: any of them. ``network`` or ``digest``: whose page has more. ``refused``: why nothing is."""

    conditions: tuple[Condition, ...] = ()
    network: str = ""
    digest: str = ""
    refused: str = ""


def network_of(text: str) -> Network | None:
    """An address (of IPv6 its /64) or a network in CIDR notation; None for anything else."""
    try:
        return parse_network(canonical_network(text))
    except ValueError:
        return None


def digest_of(text: str) -> str:
    """The digest by which the rows of this account are found; a digest is itself, and so is the one that a pseudonym is
    the first half of. Empty for what is no account.

    Raises the database's errors.
    """
    name = normalize_identifier(text)
    if name is None or "\x00" in name:
        return ""
    if means_digest(name):
        return name
    pseudonym = PSEUDONYM.fullmatch(name)
    if pseudonym is not None and pseudonym[1] == "account":
        # The events with the rest of it, if there are any.
        rest = EventRecord.objects.filter(account_digest__gte=pseudonym[2], account_digest__lt=f"{pseudonym[2]}g")
        found = rest.order_by("account_digest").values_list("account_digest", flat=True).first()
        return found or ""
    return get_event_logger().pipeline.detector.digest("account", name).hex()


def is_address_pseudonym(text: str) -> bool:
    """Is it what an address stands as in rows under PRIVACY = "hmac"? Whose it is, nobody can tell."""
    pseudonym = PSEUDONYM.fullmatch(text)
    return pseudonym is not None and pseudonym[1] == "ip"


def networks_in(network: Network) -> tuple[str, ...] | None:
    """What the addresses of this network are counted by; None if they are too many."""
    single = SUBJECT_PREFIXES[network.version]
    if network.prefixlen >= single:
        wider = network.supernet(new_prefix=single)
        return (canonical_network(str(wider)),)
    if single - network.prefixlen > MOST_NETWORKS.bit_length() - 1:
        return None
    parts = network.subnets(new_prefix=single)
    return tuple(str(part.network_address) if isinstance(part, IPv4Network) else str(part) for part in parts)


def stored_as(networks: Iterable[str]) -> tuple[str, ...]:
    """As what these stand in rows of events: as they are, as pseudonyms, and as PRIVACY has them shown now."""
    return tuple(dict.fromkeys(form for each in networks for form in (*forms_of_address(each), shown_address(each))))


def find(text: str) -> Found:
    """What to look for in the events. An id that a client chose never hides an account of the same name."""
    text = text.strip()
    network = network_of(text)
    if network is not None:
        names = networks_in(network)
        if names is None:
            return Found(
                network=str(network),
                refused=_("%s is too wide to be searched for: a /24 of IPv4 or a /56 of IPv6 at most.") % network,
            )
        return Found((Condition("network", stored_as(names)),), network=canonical_network(str(network)))
    if is_address_pseudonym(text):
        return Found((Condition("network", (text,)),))
    conditions, digest = [], digest_of(text)
    if digest and EventRecord.objects.filter(account_digest=digest).exists():
        conditions.append(Condition("account_digest", (digest,)))
    if len(text) <= 128 and "\x00" not in text and EventRecord.objects.filter(request_id=text).exists():
        conditions.append(Condition("request_id", (text,)))
    event = id_of(text)
    if event is not None and EventRecord.objects.filter(event_id=event).exists():
        conditions.append(Condition("event_id", (str(event),)))
    return Found(tuple(conditions), digest=digest)


def id_of(text: str) -> UUID | None:
    """An id as it is shown, with dashes: without them it may be a digest."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None
