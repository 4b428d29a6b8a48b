"""What somebody is known by in the tables: an account by the digests of its names, an address by how it is shown."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from secguard.detection import Observation, normalize_identifier
from secguard.logging import get_event_logger
from secguard.models import AccountLock, AllowedNetwork, Block, EventRecord, FailureCount
from secguard.network import canonical_network, is_one_client, parse_network
from secguard.privacy import forms_of_address
from secguard.records.accounts import account_of, find_user, mail_address, names_of_owner


class Subject(NamedTuple):
    """``name``: an account's identifier, normalised, or the one spelling of a network. ``digests``: an account's, in
    hexadecimal: of the name, of what it is linked to, and of its user's other names, if they are nobody else's.
    ``user_id``: the user's, or empty. ``networks``: how rows show the network, under any PRIVACY by which it is known.
    """

    kind: str
    name: str
    digests: tuple[str, ...] = ()
    user_id: str = ""
    networks: tuple[str, ...] = ()

    @property
    def observation(self) -> Observation:
        """Whom the counters are asked about."""
        if self.kind == "account":
            return Observation(account=self.name, user=self.user_id or None)
        single = is_one_client(parse_network(self.name))
        return Observation(self.name) if single else Observation(network=self.name)


def account_subject(account: str) -> Subject:
    """An account, by an identifier or its digest. Raises ValueError for what is neither, and the database's errors."""
    found = account_of(account)
    user = find_user(found.name)
    if user is None:
        return Subject("account", found.name, found.digests)
    own = {normalize_identifier(user.get_username()), normalize_identifier(mail_address(user))}
    if found.name not in own:
        return Subject("account", found.name, found.digests)
    names = names_of_owner(user)
    digest = get_event_logger().pipeline.detector.digest
    digests = dict.fromkeys([*found.digests, *(digest("account", name).hex() for name in names)])
    # A name that is somebody else's too does not make this user's events his.
    return Subject("account", found.name, tuple(digests), str(user.pk) if found.name in names else "")


def network_subject(network: str) -> Subject:
    """An address or network. Raises ValueError for what is none."""
    canonical = canonical_network(network)
    return Subject("address", canonical, networks=forms_of_address(canonical))


def events_of(subject: Subject, alias: str) -> list[QuerySet[EventRecord]]:
    """The rows about somebody: several searches, each by one column, that may find the same row."""
    rows = EventRecord.objects.using(alias)
    if subject.kind != "account":
        return [rows.filter(network__in=subject.networks)]
    found = [rows.filter(account_digest__in=subject.digests)]
    if subject.user_id:
        found.append(rows.filter(user_id=subject.user_id).exclude(account_digest__in=subject.digests))
    return found


def decisions_of(subject: Subject, alias: str) -> dict[str, QuerySet[Any]]:
    """The decisions about somebody, and the count of failures, by kind."""
    if subject.kind != "account":
        return {
            "blocks": Block.objects.using(alias).filter(network=subject.name),
            "allowed": AllowedNetwork.objects.using(alias).filter(network=subject.name),
        }
    theirs = Q(digest__in=subject.digests) | Q(account=subject.name[:254])
    return {
        "locks": AccountLock.objects.using(alias).filter(theirs),
        "failure_counts": FailureCount.objects.using(alias).filter(theirs),
    }
