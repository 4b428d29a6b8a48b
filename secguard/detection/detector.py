"""Turns what happened into operations on counters, and what the counters answer into findings.

Nothing here does I/O. A procedure that needs the store is a generator: it yields ``Trip`` and ``Pause``
and is resumed with what came of them, so that the sync and the async driver run the same code.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from secguard.detection.conditions import Condition
from secguard.detection.identity import NO_VALUE, VALUE_SIZE, keyed_digest
from secguard.detection.rule import RECORD_CAP, SUBJECTS, Action, Rule
from secguard.detection.store import (
    ABANDON,
    FAIL,
    FORGET,
    GRANTED,
    ID_SIZE,
    LINK,
    LINKED,
    OPENED,
    READ,
    REFUSED,
    RESERVE,
    RESET,
    STREAM_SIZE,
    WAIT,
    Op,
    Panel,
    Reply,
    Watch,
)
from secguard.events import EventType
from secguard.exceptions import InvalidRule

#: How long a reservation may stay in flight, in seconds: longer than any password check.
LEASE = 30
#: Seconds between two questions to the store, and between two looks whether it is one's turn to ask.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.05
_FIRST_LOOK, _LONGEST_LOOK = 0.001, 0.02
_LOGIN = EventType.LOGIN_FAILED.value
#: Where a rule counts no distinct field, entries carry this one, so that a success can forgive its own. Of all other
#: kinds it is the account.
_PARTNER = {"account": "address", "user": "address", "actor": "actor's partner", "pair": ""}
#: An actor's partner: the address of a user, the account of an address. By its address everything that an anonymous
#: actor did would be his own, and one valid account would end his guesses at all others. No field has this name.
ACTORS_PARTNER = _PARTNER["actor"]
#: Subjects whose records a login only writes: what stands there is needed neither to refuse it nor for its line.
_SILENT = ("network", "actor")
#: Found by trying: the first number with which no two built-in events, and fields of theirs, share two bytes.
_STREAM_SALT = b"117:"
_SUCCESS = EventType.LOGIN_SUCCESS.value
#: A threshold that no count reaches: such a watch only counts.
_NEVER = 2**40
_MAX_CACHED = 10_000

T = TypeVar("T")


class Trip(NamedTuple):
    """Ask the store. Resumed with the list of replies."""

    ops: list[Op]


class Turn(NamedTuple):
    """Be the one in this process who asks the store about ``key``. Resumed with ``TAKEN``, or with what the
    one whose turn it is does: ``ASKING`` or ``QUEUING``."""

    key: bytes


class Pause(NamedTuple):
    """Wait. Resumed with False if that is not possible here, or no longer.

    ``queuing``: others must finish first, so it may take long; else it is over in a moment.
    """

    seconds: float
    queuing: bool


class Ask(NamedTuple):
    """Ask something that may do other I/O, where it holds up nobody. Resumed with the answer."""

    question: Callable[[], Any]


Procedure = Generator[Trip | Turn | Pause | Ask, Any, T]
#: Answers to a ``Turn``.
TAKEN, ASKING, QUEUING = "taken", "asking", "queuing"


class Observation(NamedTuple):
    """Whom an event concerns. Everything is optional; what is unknown is counted nowhere.

    ``address``: the canonical address, an IPv6 one as its /64. ``network``: its /24 or /48.
    ``account``: the normalised identifier. ``user``: the primary key. ``fields``: what else rules may
    count. ``enforce``: limits may refuse this address. ``lockable``: limits on the account, or on the device, may
    refuse this client. ``device``: one that proved to have been logged in to the account: the account's limits do not
    refuse it. ``subjects``: the project's own.
    """

    address: str = ""
    network: str = ""
    account: str | None = None
    user: str | None = None
    fields: Mapping[str, Any] = MappingProxyType({})
    enforce: bool = True
    lockable: bool = True
    device: str = ""
    subjects: Mapping[str, str] = MappingProxyType({})

    @property
    def actor(self) -> str:
        """Who does it: the user where one is known, else the address."""
        return f"user {self.user}" if self.user else self.address


@dataclass(frozen=True, slots=True)
class Threat:
    """A rule that tripped: ``count`` of ``rule`` on ``subject``, one of the rule's kind of subject.

    ``key``: the record that was counted in.
    """

    rule: Rule
    subject: str
    count: int
    key: bytes = b""


class Target(NamedTuple):
    """One subject's record that an event touches, and what it writes there."""

    kind: str
    subject: str
    key: bytes
    panel: Panel
    entries: bytes
    forgiven: bytes = b""  # the part of the entries by which a success knows its own failures
    silent: bool = False  # a login only writes here


@dataclass(slots=True)
class Findings:
    """What the counters said: failures by rule, the rules whose threat is open, and those just opened."""

    counts: dict[str, int] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    opened: list[Threat] = field(default_factory=list)
    #: Threats that were open and that this event keeps open.
    continued: list[Threat] = field(default_factory=list)

    def predicts_threat(self, rules: Mapping[str, Rule]) -> bool:
        """Would a failure open a threat, for all that is known?"""
        return any(count >= rules[name].threshold for name, count in self.counts.items() if name not in self.open)


@dataclass(slots=True)
class Attempt:
    """One guess at a secret, from its reservation to its outcome."""

    observation: Observation
    targets: list[Target]  # those that a reservation asks about come first
    #: From the system: a project that seeds ``random`` must not make two attempts look like one.
    id: bytes = field(default_factory=lambda: os.urandom(ID_SIZE))
    state: str = "new"  # → reserved | refused → failed | passed | unknown
    findings: Findings = field(default_factory=Findings)
    retry_after: int = 0  # seconds
    owner: object = None  # the backend that reserved it
    link_source: bytes = b""  # the digest of the name that is to be linked
    alias: str | None = None  # what the log shows instead of the account
    link: str | None = None  # the canonical name of whom it let in, if what was typed may count as it
    lock: str = ""  # the reference of the account's lock that refused it
    asked: int = field(init=False)  # so many of the targets a reservation asks about

    def __post_init__(self) -> None:
        self.asked = sum(not target.silent for target in self.targets)

    @property
    def in_flight(self) -> bool:
        return self.state == "reserved"


class Feed(NamedTuple):
    """How events of one type enter the record of one kind of subject."""

    kind: str
    streams: tuple[tuple[bytes, str], ...]  # (stream, the field whose value the entry carries)
    panels: tuple[Panel, Panel]  # for those whom limits may not refuse, and for all others
    silent: bool
    forgives: bool  # the first stream is the partner's


class Detector:
    """The rules, compiled. ``key``: the secret under which identifiers become digests.

    Raises InvalidRule if two event types would be mixed up in a record.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        key: bytes,
        lease: float = LEASE,
        cap: int = RECORD_CAP,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules: dict[str, Rule] = {rule.name: rule for rule in rules}
        self.digest = keyed_digest(key)
        self._lease_ms, self._cap = int(lease * 1000), cap
        self._digests: dict[tuple[str, str], bytes] = {}
        self._links: dict[bytes, bytes] = {}
        self._stream_names: dict[bytes, str] = {}
        self._feeds: dict[str, list[Feed]] = {}
        self._panels: dict[tuple[str, bool], Panel] = {}
        self._conditions: dict[str, list[Condition]] = {}
        self._success_streams: dict[str, bytes] = {}
        #: By silent kind, the rules whose count in a reservation's reply tells that there is nothing to forgive.
        self._witnesses: dict[str, tuple[str, ...]] = {}
        #: The same for whatever a success forgives.
        self._forgiven_witnesses: tuple[str, ...] = ()
        #: When a threat with conditions was last confirmed in the store, by record and rule.
        self._confirmed: dict[tuple[bytes, str], float] = {}
        self._clock = clock
        self._compile()

    # -- compiling -------------------------------------------------------------------------------

    def _compile(self) -> None:
        kinds = dict.fromkeys(rule.subject for rule in self.rules.values())
        for kind in sorted(kinds, key=lambda kind: kind in _SILENT):
            mine = [rule for rule in self.rules.values() if rule.subject == kind]
            for limiting in (False, True):
                watches = [self._watch(rule, mine, limiting) for rule in mine]
                watches += self._companions(kind, mine, watches)
                cap = self._cap_of(mine)
                self._panels[kind, limiting] = Panel(watches, lease_ms=self._lease_ms, cap=cap, visible=len(mine))
            panels = self._panels[kind, False], self._panels[kind, True]
            silent = kind in _SILENT and not panels[1].limiting
            if silent:
                self._witnesses[kind] = self._witnesses_for(panels[1].horizon_ms)
            for event_type in dict.fromkeys(event for rule in mine for event in rule.events):
                parts = _parts(mine, event_type, kind)
                streams = tuple((self._stream(event_type, part), part) for part in parts)
                forgives = parts[0] == _PARTNER.get(kind, "account")
                self._feeds.setdefault(event_type, []).append(Feed(kind, streams, panels, silent, forgives))

        windows = [rule.window_ms for rule in self.rules.values() if _LOGIN in rule.events and not rule.is_conditional]
        self._forgiven_witnesses = self._witnesses_for(max(windows, default=0))

    def _witnesses_for(self, horizon_ms: int) -> tuple[str, ...]:
        """Rules that count each failure of an account, wherever it came from, for at least that long."""
        return tuple(
            rule.name
            for rule in self.rules.values()
            if rule.subject == "account" and rule.distinct is None and not rule.is_conditional
            if _LOGIN in rule.events and rule.window_ms >= horizon_ms
        )

    def _cap_of(self, rules: list[Rule]) -> int:
        """Entries kept of one stream. Where every rule weighs several numbers, the latest few tell as much, and a
        network's record would hold the failures of thousands: each one more would cost the store a look at all."""
        return min(self._cap, max(_entries_that_tell(rule) or self._cap for rule in rules))

    def _companions(self, kind: str, mine: list[Rule], watches: list[Watch]) -> list[Watch]:
        """Watches that only count, for the rules whose threats depend on more than one number."""
        found: list[Watch] = []
        self._conditions[kind] = conditions = []
        for place, rule in enumerate(mine):
            if not rule.is_conditional:
                continue
            at, streams = len(watches) + len(found), self._watched(rule, mine)
            found.append(
                Watch(f"{rule.name}#values", streams, rule.distinct is not None, rule.window_ms, _NEVER, False)
            )
            found.append(Watch(f"{rule.name}#events", streams, False, rule.window_ms, _NEVER, False))
            if rule.max_success_rate is not None:
                partner = _PARTNER.get(kind, "account")
                stream = self._success_streams[kind] = self._stream(f"{_SUCCESS}#", partner)
                # Beside different accounts that fail, different ones that succeed: or one valid account, logged in to
                # again and again, would hide any number of failures.
                alike = rule.distinct == partner
                found.append(Watch(f"{rule.name}#successes", stream, alike, rule.window_ms, _NEVER, False))
            successes = at + 2 if rule.max_success_rate is not None else None
            conditions.append(Condition(rule, self._stream("#", rule.name), place, at, at + 1, successes))
        return found

    def _watched(self, rule: Rule, siblings: list[Rule]) -> bytes:
        parts = [(event, rule.distinct or _parts(siblings, event, rule.subject)[0]) for event in rule.events]
        return b"".join(self._stream(event, part) for event, part in parts)

    def _watch(self, rule: Rule, siblings: list[Rule], limiting: bool) -> Watch:
        if rule.is_conditional:
            # Its threat is opened by an entry of its own, once the conditions hold.
            return Watch(rule.name, self._stream("#", rule.name), False, rule.window_ms, 1, False)
        streams = self._watched(rule, siblings)
        limits = limiting and rule.action is not Action.LOG and _LOGIN in rule.events
        return Watch(rule.name, streams, rule.distinct is not None, rule.window_ms, rule.threshold, limits)

    def _stream(self, event_type: str, part: str) -> bytes:
        """Two bytes that stand for a kind of entry, the same in every process and release."""
        name = f"{event_type}/{part}"
        stream = hashlib.sha256(_STREAM_SALT + name.encode()).digest()[:STREAM_SIZE]
        other = self._stream_names.setdefault(stream, name)
        if other != name:
            raise InvalidRule(f"event {name} and {other} share a stream code; rename one of them")
        return stream

    # -- whom an event touches ---------------------------------------------------------------------

    def watches(self, event_type: str) -> bool:
        """Does any rule count events of this type?"""
        return event_type in self._feeds

    def feeds(self, event_type: str) -> Sequence[Feed]:
        """How events of this type are counted: for whoever counts many of them at once, as a replay does."""
        return self._feeds.get(event_type, ())

    def conditions(self, kind: str) -> Sequence[Condition]:
        """What has to hold besides the numbers, of the rules over this kind of subject."""
        return self._conditions.get(kind, ())

    def success_entry(self, kind: str) -> tuple[bytes, str] | None:
        """The stream in which successes are compared with failures, and the field whose value its entries carry."""
        stream = self._success_streams.get(kind)
        return None if stream is None else (stream, _PARTNER.get(kind, "account"))

    def targets(self, event_type: str, who: Observation) -> list[Target]:
        """The records that an event of this type is written to."""
        found = []
        for kind, streams, panels, silent, forgives in self._feeds.get(event_type, ()):
            subject = _subject(kind, who)
            if subject:
                # By the partner's piece, the first. Without a value it would match everybody who has none.
                stream, part = streams[0]
                entries = forgiven = stream + self._value(part, who)
                if not forgives or (forgiven.endswith(NO_VALUE) and kind != "pair"):
                    forgiven = b""
                for stream, part in streams[1:]:
                    entries += stream + self._value(part, who)
                key = _key(kind, self._subject_digest(kind, subject))
                found.append(Target(kind, subject, key, panels[_is_limited(kind, who)], entries, forgiven, silent))
        return found

    def _subject_digest(self, kind: str, subject: str) -> bytes:
        digest = self._digests.get((kind, subject)) or self._cached_digest(kind, subject)
        return self._links.get(digest, digest) if kind == "account" else digest

    def _cached_digest(self, kind: str, value: str) -> bytes:
        cached = self._digests.get((kind, value))
        if cached is None:
            cached = self.digest(kind, value)
            if len(value) <= 64:
                _remember(self._digests, (kind, value), cached)
        return cached

    def _value(self, part: str, who: Observation) -> bytes:
        if part == ACTORS_PARTNER:
            part = "address" if who.user else "account"
        if part == "account":
            return self._subject_digest(part, who.account)[:VALUE_SIZE] if who.account else NO_VALUE
        if part in ("address", "network", "user"):
            value = getattr(who, part)
            return (
                (self._digests.get((part, value)) or self._cached_digest(part, value))[:VALUE_SIZE]
                if value
                else NO_VALUE
            )
        value = who.fields.get(part) if part else None
        return NO_VALUE if value is None else self.digest(part, str(value))[:VALUE_SIZE]

    # -- one attempt ---------------------------------------------------------------------------------

    def attempt(self, who: Observation) -> Attempt:
        return Attempt(who, self.targets(_LOGIN, who))

    def reserve(self, attempt: Attempt) -> Procedure[None]:
        """Take a slot under every limit, waiting while others might free one. Sets ``attempt.state``.

        One at a time asks about a limit: a hundred guesses at once must not become a hundred questions at
        once, which make a store look dead, nor ten each while they wait.
        """
        targets = attempt.targets[: attempt.asked]
        for target in targets:
            if target.panel.limiting:
                answer = yield Turn(target.key)
                if answer != TAKEN and not (yield from self._wait_for_turn(target.key, answer)):
                    attempt.state = "refused"
                    return
                break
        replies: list[Reply] = []
        if targets:
            replies = yield Trip(
                [Op(RESERVE, target.key, target.panel, attempt.id, target.entries) for target in targets]
            )
        for reply in replies:
            if reply.status != GRANTED:
                yield from self._ask_until_clear(attempt, replies)
                return
        attempt.findings = self.findings(targets, replies)
        attempt.state = "reserved"

    def _wait_for_turn(self, key: bytes, answer: str) -> Procedure[bool]:
        pause = _FIRST_LOOK
        while answer != TAKEN:
            if not (yield Pause(_jittered(pause), answer == QUEUING)):
                return answer == ASKING  # who cannot wait a moment (an event loop) asks beside the other
            pause = min(pause * 2, _LONGEST_LOOK)
            answer = yield Turn(key)
        return True

    def _ask_until_clear(self, attempt: Attempt, replies: list[Reply]) -> Procedure[None]:
        """``replies``: to the first question."""
        wanted, pause = list(range(attempt.asked)), _FIRST_PAUSE
        replies = yield from self._follow_links(attempt, RESERVE, wanted, replies)
        while True:
            self._note(attempt, wanted, replies)
            closed = [at for at, reply in zip(wanted, replies, strict=True) if reply.status in (WAIT, REFUSED)]
            if not closed:
                attempt.state = "reserved"
                return
            # Nobody waits for one slot while holding another. A record without a limit has no slots.
            scarce = [at for at in wanted if at not in closed and attempt.targets[at].panel.limiting]
            yield from self._give_back(attempt, scarce)
            wanted = sorted(closed + scarce)
            refused = any(reply.status == REFUSED for reply in replies)
            if refused or not (yield Pause(_jittered(pause), True)):
                yield from self._give_back(attempt, [at for at in range(attempt.asked) if at not in wanted])
                attempt.retry_after = -(-max(reply.retry_after_ms for reply in replies) // 1000)
                attempt.state = "refused"
                return
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            replies = yield from self._trip(attempt, RESERVE, wanted)

    def _note(self, attempt: Attempt, which: list[int], replies: list[Reply]) -> None:
        found = self.findings([attempt.targets[at] for at in which], replies)
        attempt.findings.counts.update(found.counts)
        attempt.findings.open |= found.open

    def _give_back(self, attempt: Attempt, which: list[int]) -> Procedure[None]:
        if which:
            targets = [attempt.targets[at] for at in which]
            yield Trip([Op(FORGET, target.key, target.panel, attempt.id) for target in targets])

    def _trip(self, attempt: Attempt, code: bytes, which: Sequence[int] | None = None) -> Procedure[list[Reply]]:
        """One operation on these targets (all, if not said)."""
        indices = list(range(len(attempt.targets))) if which is None else which
        if not indices:
            return []
        replies: list[Reply] = yield Trip([_op(code, attempt.targets[at], attempt.id) for at in indices])
        return (yield from self._follow_links(attempt, code, indices, replies))

    def _follow_links(
        self, attempt: Attempt, code: bytes, which: Sequence[int], replies: list[Reply]
    ) -> Procedure[list[Reply]]:
        """Ask again where a record turned out to be another account's."""
        for place, at in enumerate(which):
            if replies[place].status == LINKED:
                attempt.targets[at] = target = self._linked(attempt.targets[at], replies[place].link)
                replies[place] = (yield Trip([_op(code, target, attempt.id)]))[0]
        return replies

    def _linked(self, target: Target, link: bytes) -> Target:
        _remember(self._links, self._cached_digest(target.kind, target.subject), link)
        return target._replace(key=_key(target.kind, link))

    def record(self, attempt: Attempt) -> Procedure[Findings]:
        """Count the attempt as failed and wait for what the counters say."""
        replies = yield from self._trip(attempt, FAIL)
        return (yield from self._found(attempt, replies))

    def recorded(self, attempt: Attempt, replies: list[Reply]) -> Procedure[Findings]:
        """The same, for ``fail_ops`` that were sent earlier and answered with ``replies``."""
        replies = yield from self._follow_links(attempt, FAIL, range(len(attempt.targets)), replies)
        return (yield from self._found(attempt, replies))

    def is_remarkable(self, attempt: Attempt, replies: Sequence[Reply]) -> bool:
        """Do the replies to ``fail_ops`` tell of a threat, or ask for a further look?"""
        return any(
            reply.status or any(reply.threats) or self._conditions_met(target.kind, reply)
            for target, reply in zip(attempt.targets, replies, strict=True)
        )

    def _conditions_met(self, kind: str, reply: Reply) -> list[Condition]:
        conditions = self._conditions.get(kind)
        return [each for each in conditions if each.may_hold(reply.counts)] if conditions and reply.counts else []

    def _found(self, attempt: Attempt, replies: Sequence[Reply]) -> Procedure[Findings]:
        found = self.findings(attempt.targets, replies)
        for target, reply in zip(attempt.targets, replies, strict=True):
            for condition in self._conditions_met(target.kind, reply):
                yield from self._open_if_it_holds(condition, target, reply, found)
        return found

    def _open_if_it_holds(self, condition: Condition, target: Target, reply: Reply, found: Findings) -> Procedure[None]:
        """A further look at the record, and an entry that opens the threat or keeps it open.

        While it is open one in a tenth of the window is enough: an attack must not cost two more trips a guess.
        """
        rule, counts = condition.rule, reply.counts
        confirmed, now = self._confirmed.get((target.key, rule.name)), self._clock()
        is_open = bool(reply.threats and reply.threats[condition.threat])
        if is_open and confirmed is not None and now - confirmed < rule.window_ms / 10_000:
            found.continued.append(Threat(rule, target.subject, counts[condition.values], target.key))
            return
        if condition.successes is not None:
            (reply,) = yield Trip([Op(READ, target.key, target.panel)])
            counts = reply.counts or counts
        if not condition.holds(counts):
            return
        (reply,) = yield Trip([Op(FAIL, target.key, target.panel, os.urandom(ID_SIZE), condition.trigger + NO_VALUE)])
        _remember(self._confirmed, (target.key, rule.name), now)
        threat = Threat(rule, target.subject, counts[condition.values], target.key)
        found.open.add(rule.name)
        if reply.threats and reply.threats[condition.threat] == OPENED:
            found.opened.append(threat)
        else:
            found.continued.append(threat)

    def fail_ops(self, attempt: Attempt) -> list[Op]:
        return [_op(FAIL, target, attempt.id) for target in attempt.targets]

    def abandon_ops(self, attempt: Attempt) -> list[Op]:
        # Only where something is limited anything is held.
        held = [target for target in attempt.targets if target.panel.limiting]
        return [Op(ABANDON, target.key, target.panel, attempt.id) for target in held]

    def pass_ops(
        self,
        attempt: Attempt,
        earlier: Sequence[Attempt] = (),
        link: str | None = None,
        *,
        forgives: bool = True,
    ) -> list[Op]:
        """Free the slot and forgive the account's failures from this address, never another account's.

        ``earlier``: failed attempts of the same request, under the user's other names: forgiven too.
        ``link``: the account's canonical identifier, if the one used differs and shall count as it.
        ``forgives``: false where the identifier is another user's too: only the slot is freed.
        """
        ops: list[Op] = []
        account = attempt.observation.account
        for target in attempt.targets:
            if target.silent and self._has_nothing_to_forgive(attempt, target.kind):
                continue  # nothing was reserved there either
            # Without an account there is nothing of one's own to forgive, only the slot to free.
            forgiven = target.forgiven if account and forgives else b""
            ops.append(Op(FORGET, target.key, target.panel, attempt.id, forgiven))
        for other in earlier:
            ops += [Op(FORGET, target.key, target.panel, other.id) for target in other.targets]
        if link and account and link != account:
            ops += self._link_ops(attempt, account, link)
        return ops

    def may_forgive(self, attempt: Attempt) -> bool:
        """Had anybody failed at this account before, as far as the reservation's reply tells? It counts this attempt
        as a failure. Where no rule counts all failures of an account for long enough, any failure may be one."""
        counts = attempt.findings.counts
        if not attempt.observation.account:
            return False
        if self._forgiven_witnesses:
            return all(counts.get(name, 2) > 1 for name in self._forgiven_witnesses)
        return any(count > 1 for count in counts.values())

    def _has_nothing_to_forgive(self, attempt: Attempt, kind: str) -> bool:
        """Did the reservation's reply tell that this would be the account's first failure?"""
        counts = attempt.findings.counts
        return not attempt.observation.account or any(counts.get(name, 2) <= 1 for name in self._witnesses[kind])

    def success_ops(self, who: Observation, link: str | None = None) -> list[Op]:
        """What a successful login writes where a rule compares failures with successes.

        ``link``: as for ``pass_ops``. An account's success is written there at once: a record that holds anything
        is not linked.
        """
        ops = []
        for kind, stream in self._success_streams.items():
            subject = link if link and kind == "account" else _subject(kind, who)
            if subject:
                key = _key(kind, self._subject_digest(kind, subject))
                entry = stream + self._value(_PARTNER.get(kind, "account"), who)
                ops.append(Op(FAIL, key, self._panels[kind, False], os.urandom(ID_SIZE), entry))
        return ops

    def forgive_ops(self, event_types: Iterable[str], who: Observation) -> list[Op]:
        """Drop what is settled of these events with the same partner: an account's from this address, an address's at
        this account. What is counted by another field alone (``distinct``) stays."""
        targets = [target for event_type in event_types for target in self.targets(event_type, who)]
        return [Op(FORGET, each.key, each.panel, payload=each.forgiven) for each in targets if each.forgiven]

    def passed(self, attempt: Attempt, replies: Sequence[Reply]) -> None:
        """Learn from the replies to ``pass_ops`` whether the account's names are linked now."""
        if attempt.link_source and replies and replies[-1].status == LINKED:
            _remember(self._links, attempt.link_source, replies[-1].link)

    def _link_ops(self, attempt: Attempt, account: str, canonical: str) -> list[Op]:
        source, target = self._cached_digest("account", account), self._subject_digest("account", canonical)
        if source == target or self._links.get(source) == target or ("account", False) not in self._panels:
            return []
        attempt.link_source = source
        return [Op(LINK, _key("account", source), self._panels["account", False], payload=target)]

    def release(self, attempt: Attempt) -> Procedure[None]:
        """Give back what a reservation took, as if there had been no attempt."""
        targets = attempt.targets
        yield from self._give_back(attempt, [at for at, target in enumerate(targets) if target.panel.limiting])

    def account_digests(self, account: str) -> tuple[str, ...]:
        """The digests in hexadecimal that the account is known by: of its record, then of the name as it stands."""
        own, used = self._cached_digest("account", account), self._subject_digest("account", account)
        return (own.hex(),) if own == used else (used.hex(), own.hex())

    def account_digest(self, account: str) -> str:
        """The digest in hexadecimal of the account's record: the canonical name's, as far as links are known."""
        return self._subject_digest("account", account).hex()

    def is_linked(self, account: str) -> bool:
        """Is this identifier known to be another name of an account?"""
        return self._cached_digest("account", account) in self._links

    # -- reading ---------------------------------------------------------------------------------------

    def read(self, attempt: Attempt) -> Procedure[Findings]:
        """What the counters say of the attempt's subjects; nothing is changed."""
        replies = yield from self._trip(attempt, READ)
        return self.findings(attempt.targets, replies)

    def reset(self, attempt: Attempt) -> Procedure[None]:
        """Drop the records of the attempt's subjects, open threats included."""
        yield from self._trip(attempt, READ)  # follows links
        yield Trip([Op(RESET, target.key, target.panel) for target in attempt.targets])

    def records_of(self, who: Observation) -> Attempt:
        """All records there are of these subjects, whatever events they count: to read or to reset."""
        kinds = dict.fromkeys(kind for kind, _ in self._panels)
        subjects = [(kind, _subject(kind, who)) for kind in kinds]
        found = [
            Target(kind, subject, _key(kind, self._subject_digest(kind, subject)), self._panels[kind, False], b"")
            for kind, subject in subjects
            if subject
        ]
        return Attempt(who, found)

    def place_of_count(self, kind: str, rule: str) -> int:
        """Where in a reply's counts, and in a panel's watches, the number stands that a rule is about."""
        found = next((each.values for each in self._conditions.get(kind, ()) if each.rule.name == rule), None)
        return self._panels[kind, False].names.index(rule) if found is None else found

    def reset_record(self, key: bytes) -> Procedure[None]:
        """Drop one record, known by its key alone."""
        yield Trip([Op(RESET, key, Panel((), lease_ms=self._lease_ms, cap=self._cap))])

    def findings(self, targets: Sequence[Target], replies: Sequence[Reply]) -> Findings:
        found = Findings()
        for target, reply in zip(targets, replies, strict=True):
            found.counts.update(zip(target.panel.names, reply.counts, strict=False))
            if reply.counts:
                for condition in self._conditions.get(target.kind, ()):
                    found.counts[condition.rule.name] = reply.counts[condition.values]
            if any(reply.threats):
                self._note_threats(found, target, reply)
        return found

    def _note_threats(self, found: Findings, target: Target, reply: Reply) -> None:
        for name, count, threat in zip(target.panel.names, reply.counts, reply.threats, strict=False):
            if threat:
                found.open.add(name)
            rule = self.rules[name]
            if rule.is_conditional:
                continue  # _found looks at those
            if threat == OPENED:
                found.opened.append(Threat(rule, target.subject, count, target.key))
            elif threat and count >= rule.threshold:
                found.continued.append(Threat(rule, target.subject, count, target.key))


def _parts(siblings: Iterable[Rule], event_type: str, kind: str) -> list[str]:
    """The fields that entries of this type carry on this kind of subject: one stream for each."""
    counted = {rule.distinct for rule in siblings if event_type in rule.events}
    fields, partner = {part for part in counted if part}, _PARTNER.get(kind, "account")
    if event_type == _LOGIN or None in counted or partner in fields:
        # By its partner (an address's accounts, an account's addresses) a success knows its own failures.
        return [partner, *sorted(fields - {partner})]
    return sorted(fields)


def _entries_that_tell(rule: Rule) -> int | None:
    """So many of the latest entries show what a rule weighs. None: nobody can say how many."""
    if rule.max_success_rate is not None:
        return None  # successes older than the failures that are kept would weigh more than those did
    if rule.max_per_value is not None:
        # Half as many again as the most that may stand for the threshold: events come unevenly.
        return ceil(rule.threshold * max(3, 1.5 * rule.max_per_value))
    return 3 * rule.threshold if rule.is_conditional and rule.distinct is None else None


def _subject(kind: str, who: Observation) -> str:
    if kind == "pair":
        return f"{who.address} {who.account}" if who.address and who.account else ""
    return getattr(who, kind) or "" if kind in SUBJECTS else who.subjects.get(kind, "")


def _key(kind: str, digest: bytes) -> bytes:
    return _PREFIXES.get(kind, b"sg:x:") + b2a_base64(digest)[:-3]  # without "==" and the line's end


def account_digest(key: bytes) -> str:
    """The digest of the account, in hexadecimal, whose record has this key."""
    return a2b_base64(key.rpartition(b":")[2] + b"==").hex()


def account_key(digest: str) -> bytes:
    """The key of the record of the account with this digest."""
    return _key("account", bytes.fromhex(digest))


def _is_limited(kind: str, who: Observation) -> bool:
    """May limits on this kind of subject refuse this client?"""
    if kind == "account":
        return who.lockable and not who.device
    return who.lockable if kind == "device" else who.enforce


_PREFIXES = {
    "address": b"sg:a:",
    "account": b"sg:u:",
    "pair": b"sg:p:",
    "network": b"sg:n:",
    "user": b"sg:i:",
    "device": b"sg:d:",
    "actor": b"sg:w:",
}


def _jittered(seconds: float) -> float:
    """What came together must not come back together."""
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311


def _op(code: bytes, target: Target, ids: bytes) -> Op:
    return Op(code, target.key, target.panel, ids, target.entries)


def _remember(cache: dict[Any, T], key: Any, value: T) -> None:
    """A cache that is emptied when it is full: bounded, and without the price of an order."""
    if len(cache) >= _MAX_CACHED:
        cache.clear()
    cache[key] = value


def run(procedure: Procedure[T], execute: Callable[[list[Op]], list[Reply]]) -> T:
    """Drive a procedure that never pauses, such as reading, recording or a replay."""
    answer: Any = None
    while True:
        try:
            step = procedure.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        if isinstance(step, Ask):
            answer = step.question()
        else:
            answer = execute(step.ops) if isinstance(step, Trip) else TAKEN if isinstance(step, Turn) else False
