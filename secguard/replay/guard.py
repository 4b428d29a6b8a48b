"""What would have been refused, had these rules been enforced: blocks, locks and limits on the log's own clock.

What follows from a threat is decided by the live policy. A refused attempt counts for no limit, as in the site, so that
from the first refusal on a subject's counters differ from those of what really happened: they get a twin.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from secguard.blocking.policy import BlockRequest, LockRequest, Policy, Proposal
from secguard.blocking.replica import BlockEntry, Replica
from secguard.conf import Settings
from secguard.detection import Action, Detector, Rule
from secguard.detection import Threat as DetectedThreat
from secguard.detection.detector import account_key
from secguard.network import UNKNOWN, ClientAddress, is_one_client, parse_network
from secguard.replay.attempts import ACCOUNT, ADDRESS, AT, CLIENT, HAS_FAILED, SECOND, Attempt, Moment
from secguard.replay.windows import Tripped

#: Successful logins that are named, at most; all are counted.
MAX_NAMED = 10_000
#: Blocks whose offences are remembered before those that are forgiven are looked for.
_MANY_OFFENDERS = 10_000
_BITS = {4: 32, 6: 128}


@dataclass(slots=True)
class Block:
    """A block or a lock that would have been: of ``network``, or of an ``account``."""

    subject: str
    rule: str
    since: Moment
    until: Moment
    offence: int = 1
    refused_failures: int = 0
    refused_successes: int = 0


class Cost(NamedTuple):
    """A successful login that would have been refused, by this rule."""

    at: Moment
    address: str
    account: str | None
    rule: str


@dataclass(slots=True)
class Verdicts:
    """All that would have come of it. ``limited_…``: refused by a limit, without a block. ``proposals``: networks that
    an operator would have been asked about."""

    blocks: list[Block] = field(default_factory=list)
    locks: list[Block] = field(default_factory=list)
    limited_failures: int = 0
    limited_successes: int = 0
    costs: list[Cost] = field(default_factory=list)
    proposals: dict[str, int] = field(default_factory=dict)
    suppressed: int = 0

    @property
    def refused_failures(self) -> int:
        return self.limited_failures + sum(each.refused_failures for each in (*self.blocks, *self.locks))

    @property
    def refused_successes(self) -> int:
        return self.limited_successes + sum(each.refused_successes for each in (*self.blocks, *self.locks))


@dataclass(slots=True)
class _Offender:
    blocks: int
    until: Moment


class Guard:
    """``settings``: those of the site. Whatever its mode is, this one enforces; blocks are not spread in time."""

    def __init__(self, settings: Settings, detector: Detector) -> None:
        self.verdicts = Verdicts()
        self._settings, self._detector = replace(settings, mode="enforce"), detector
        self._now: Moment = 0
        self._replica = Replica(clock=lambda: self._now / SECOND)
        self._policy = Policy(self._settings, self._replica, self._offences, jitter=lambda: 0)
        self._offenders: dict[str, _Offender] = {}
        self._remembered = _MANY_OFFENDERS
        #: By subject. Those that have ended are dropped when they are met.
        self.blocked: dict[str | None, Block] = {}
        #: Networks or accounts are refused, too.
        self.has_others = False
        self._wide: dict[tuple[int, int, int], Block] = {}
        self._prefixes: dict[int, set[int]] = {4: set(), 6: set()}
        self._locked: dict[str | None, Block] = {}
        #: Accounts whose counters begin at nought, since their lock ends before their window.
        self.renewed: list[str] = []

    # -- before an attempt -------------------------------------------------------------------------------

    def find(self, who: Attempt, now: Moment) -> Block | None:
        """The block or lock that this attempt meets."""
        address = who[CLIENT]
        if address is not None and address.exempt:
            return None
        found = self._in_force(self.blocked, who[ADDRESS], now)
        if found is None and self._wide and address is not None:
            found = self._find_wide(address, now)
        if found is None and self._locked:
            found = self._in_force(self._locked, who[ACCOUNT], now)
        return found

    @staticmethod
    def _in_force(known: dict[str | None, Block], subject: str | None, now: Moment) -> Block | None:
        found = known.get(subject)
        if found is not None and found.until <= now:
            del known[subject]
            return None
        return found

    def _find_wide(self, address: ClientAddress, now: Moment) -> Block | None:
        bits, longest = _BITS[address.version], None
        for prefix in self._prefixes[address.version]:
            found = self._wide.get((address.version, prefix, address.number >> (bits - prefix)))
            if found is not None and found.until > now and (longest is None or found.until > longest.until):
                longest = found
        return longest

    def refuse_success(self, who: Attempt, rule: str, block: Block | None = None) -> None:
        """Note a successful login that would have been refused: by a block, a lock or the limit of a rule."""
        if block is not None:
            block.refused_successes += 1
        else:
            self.verdicts.limited_successes += 1
        if len(self.verdicts.costs) < MAX_NAMED:
            address = who[CLIENT]
            self.verdicts.costs.append(Cost(who[AT], "" if address is None else address.text, who[ACCOUNT], rule))

    def refuse_by_limit(self, who: Attempt, rule: str) -> None:
        if who[HAS_FAILED]:
            self.verdicts.limited_failures += 1
        else:
            self.refuse_success(who, rule)

    # -- after one ---------------------------------------------------------------------------------------

    def follow(self, tripped: list[Tripped], who: Attempt, now: Moment) -> None:
        """What follows from threats that an attempt opened or kept open. It met no block, so that one is raised again
        where a block ended before its threat did."""
        self._now = now
        for each in sorted(tripped, key=lambda each: not each.opened):
            rule = each.threat.rule
            if rule.action in (Action.LOG, Action.REFUSE) or not (each.opened or self._is_over(each, who, now)):
                continue
            address = who[CLIENT] or UNKNOWN
            threat = DetectedThreat(rule, each.threat.subject, each.level, self._key(rule, each.threat.subject))
            decision = self._policy.decide(threat, address)
            if isinstance(decision, BlockRequest):
                self._block(decision, now)
                self._widen(threat, address, now)
            elif isinstance(decision, LockRequest):
                self._lock(decision, rule, now)
            elif decision is not None:
                self.verdicts.suppressed += 1

    def _is_over(self, tripped: Tripped, who: Attempt, now: Moment) -> bool:
        """Did what followed from this threat end before it?"""
        if tripped.threat.rule.subject == "account":
            lock = self._locked.get(tripped.threat.subject)
            return lock is None or lock.until <= now
        return self.find(who, now) is None

    def _widen(self, threat: DetectedThreat, address: ClientAddress, now: Moment) -> None:
        wider = self._policy.widen(threat, address)
        if isinstance(wider, BlockRequest):
            self._block(wider, now)
        elif isinstance(wider, Proposal):
            self.verdicts.proposals[wider.network] = wider.count

    def _key(self, rule: Rule, subject: str) -> bytes:
        """A lock goes by the record's key."""
        return account_key(self._detector.account_digest(subject)) if rule.subject == "account" else b""

    def _block(self, request: BlockRequest, now: Moment) -> None:
        seconds = request.duration or 0.0
        until = now + round(seconds * SECOND)
        block = Block(request.network, request.rule, now, until, request.offence)
        self.verdicts.blocks.append(block)
        self._remember_offence(request, now, until)
        self._replica.raise_here(BlockEntry(request.network, request.reference, now / SECOND + seconds, automatic=True))
        network = None if "/" not in request.network else parse_network(request.network)
        if network is None or is_one_client(network):
            known = self.blocked.get(request.network)
            if known is None or known.until < until:
                self.blocked[request.network] = block
        else:
            shift = _BITS[network.version] - network.prefixlen
            key = (network.version, network.prefixlen, int(network.network_address) >> shift)
            if key not in self._wide or self._wide[key].until < until:
                self._wide[key] = block
                self._prefixes[network.version].add(network.prefixlen)
                self.has_others = True

    def _lock(self, request: LockRequest, rule: Rule, now: Moment) -> None:
        seconds = self._settings.lock_duration
        lock = Block(request.account, rule.name, now, now + round(seconds * SECOND))
        self.verdicts.locks.append(lock)
        self._locked[request.account] = lock
        self.has_others = True
        if rule.window_ms > seconds * 1000:
            self.renewed.append(request.account)

    # -- offences ----------------------------------------------------------------------------------------

    def _offences(self, network: str) -> int:
        """Earlier blocks of a network, since it was last quiet for OFFENCE_MEMORY. One in force is the same offence."""
        known = self._offenders.get(network)
        if known is None or self._now - known.until >= self._settings.offence_memory * SECOND:
            return 0
        return known.blocks - (known.until > self._now)

    def _remember_offence(self, request: BlockRequest, now: Moment, until: Moment) -> None:
        known = self._offenders.get(request.network)
        longest = until if known is None else max(until, known.until)
        self._offenders[request.network] = _Offender(request.offence, longest)
        if len(self._offenders) > self._remembered:
            oldest = now - self._settings.offence_memory * SECOND
            self._offenders = {name: each for name, each in self._offenders.items() if each.until > oldest}
            self._remembered = 2 * len(self._offenders) + _MANY_OFFENDERS
