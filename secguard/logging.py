"""The facade that projects call, and the signal receivers too: ``SecurityEventLogger``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar, cast

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.signals import setting_changed
from django.db import models
from django.utils.functional import SimpleLazyObject, empty
from django.utils.module_loading import import_string

from secguard import emit, signals
from secguard.blocking.devices import get_devices
from secguard.conf import Settings, get_settings, until_settings_change
from secguard.context import RequestContext, context_for, get_resolver
from secguard.detection import DEFAULT_RULES, Observation, Rule, normalize_identifier, with_overrides
from secguard.detection.catalogue import SUCCESS_AFTER_ATTACK
from secguard.detection.detector import Findings
from secguard.detection.rule import BLOCKABLE_SUBJECTS
from secguard.emit import security_logger
from secguard.events import VOCABULARY, Category, Event, EventType, Severity, naming, new_event_id, spec_of
from secguard.failures import report_failure
from secguard.formatters.text import clean, clean_context, clean_text
from secguard.network import ClientAddress, unknown
from secguard.pipeline import (
    Pipeline,
    are_anothers_too,
    follow_up,
    is_worth_a_line,
    keep_up,
    note_failure,
    note_success,
)
from secguard.privacy import pseudonym_of

__all__ = [
    "SecurityEvent",
    "SecurityEventLogger",
    "get_event_logger",
    "security_event_logger",
    "security_logger",
]

#: Class attribute → (rule, field, factor from the attribute's unit to the rule's).
_THRESHOLDS = {
    "FAILED_LOGIN_THRESHOLD": ("brute_force", "threshold", 1),
    "FAILED_LOGIN_WINDOW_MINUTES": ("brute_force", "window", 60),
    "DISTRIBUTED_ATTACK_THRESHOLD": ("distributed_attack", "threshold", 1),
    "DISTRIBUTED_ATTACK_WINDOW_MINUTES": ("distributed_attack", "window", 60),
    "ACCOUNT_ENUMERATION_THRESHOLD": ("account_enumeration", "threshold", 1),
    "ACCOUNT_ENUMERATION_WINDOW_MINUTES": ("account_enumeration", "window", 60),
}
#: Rule → how a failed login's line calls its count.
_COUNTS = {
    "brute_force": "failed_attempts_from_ip",
    "distributed_attack": "unique_ips_for_email",
    "account_enumeration": "unique_emails_from_ip",
}
#: The rule that counts successes while a threat is open. It is none of those threats, or it would keep itself open.
_AFTER_ATTACK = SUCCESS_AFTER_ATTACK.name
#: What the lines of those types say that have no method of their own.
_MESSAGES: Mapping[str, str] = {
    EventType.TWO_FACTOR_DEVICE_ADDED: "Further second factor of {} added",
    EventType.TWO_FACTOR_DEVICE_REMOVED: "One of several second factors of {} removed",
    EventType.TWO_FACTOR_RESET: "Recovery codes of {} renewed",
    EventType.TWO_FACTOR_SUCCESS: "Second factor of {} verified",
    EventType.TWO_FACTOR_FAILED: "Wrong second factor for {}",
    EventType.CODE_REJECTED: "Wrong code for {}",
    EventType.PASSWORD_DISABLED: "Password of {} made unusable",
    EventType.PASSWORD_RESET_REQUESTED: "Password reset requested for {}",
    EventType.SIGNUP_REJECTED: "Sign-up as {} rejected",
    EventType.EMAIL_CHANGED: "Mail address of {} changed",
    EventType.EMAIL_ADDED: "Mail address of {} added",
    EventType.EMAIL_REMOVED: "Mail address of {} removed",
    EventType.USER_CREATED: "User {} created",
    EventType.USER_DEACTIVATED: "User {} deactivated",
    EventType.USER_REACTIVATED: "User {} reactivated",
    EventType.USER_DELETED: "User {} deleted",
    EventType.PRIVILEGES_CHANGED: "Privileges of {} changed",
    EventType.AUTHENTICATION_REQUIRED: "Asked for what needs a login: {}",
    EventType.CSRF_FAILED: "CSRF check failed for {}",
    EventType.TOKEN_REFRESHED: "Token of {} refreshed",
    EventType.TOKEN_FORGED: "Forged or unknown token of {}",
    EventType.TOKEN_EXPIRED: "Expired token of {}",
    EventType.TOKEN_REVOKED: "Revoked token of {}",
    EventType.TOKEN_REJECTED: "Token of {} rejected",
}
_Member = TypeVar("_Member", Category, Severity)
_LOGIN_TYPES = (EventType.LOGIN_FAILED, EventType.LOGIN_SUCCESS)


class _Who(NamedTuple):
    """Whom a call to the facade is about."""

    context: RequestContext
    address: ClientAddress
    observation: Observation
    names: dict[str, Any]
    alias: str | None

    @property
    def is_named(self) -> bool:
        """Is the label a name, and not the user's number or nothing?"""
        return bool(self.alias or self.names.get("email") or self.names.get("username"))

    @property
    def label(self) -> str:
        names = self.names
        given = (names[name] for name in ("email", "username", "user_id") if name in names)
        return self.alias or next(filter(None, (clean_text(value) for value in given)), "nobody")


class SecurityEventLogger:
    """Logs security events, counts them, and acts on what the rules make of them.

    Every ``log_*`` method takes the keywords ``user_id``, ``email``, ``username`` (either one is the
    account's identifier), ``ip_address``, ``user_agent``, ``reason`` and ``request``, plus anything else
    that the line shall show, and returns the event. What is not given is taken from the request at hand.
    None of them raises for what is put in, nor waits longer than SECGUARD["STORE_TIMEOUT"] for the counters;
    from a coroutine call them through ``sync_to_async``.

    A subclass may set the thresholds below; it beats SECGUARD["RULES"], which beats the defaults.
    Name it in SECGUARD["LOGGER_CLASS"], and the signal receivers use it. Thread-safe.
    """

    FAILED_LOGIN_THRESHOLD = 5
    FAILED_LOGIN_WINDOW_MINUTES: float = 15
    DISTRIBUTED_ATTACK_THRESHOLD = 10
    DISTRIBUTED_ATTACK_WINDOW_MINUTES: float = 30
    ACCOUNT_ENUMERATION_THRESHOLD = 20
    ACCOUNT_ENUMERATION_WINDOW_MINUTES: float = 10

    def __init__(self) -> None:
        self._built: tuple[Settings, Pipeline] | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The rules in force for this logger, at work. Raises InvalidRule for a threshold out of range."""
        settings = get_settings()
        built = self._built
        if built is None or built[0] is not settings:
            built = self._built = (settings, Pipeline(self.effective_rules()))
        return built[1]

    def effective_rules(self) -> tuple[Rule, ...]:
        """The defaults, changed by SECGUARD["RULES"], changed by the thresholds that a subclass sets."""
        changes: dict[str, dict[str, Any]] = {}
        for attribute, (rule, field, factor) in _THRESHOLDS.items():
            if any(
                attribute in vars(cls)
                for cls in type(self).__mro__
                if issubclass(cls, SecurityEventLogger) and cls is not SecurityEventLogger
            ):
                changes.setdefault(rule, {})[field] = getattr(self, attribute) * factor
        rules = get_settings().rules
        missing = tuple(rule for rule in DEFAULT_RULES if rule.name in changes and rule not in rules)
        known = {rule.name for rule in rules}
        return with_overrides(changes, rules + tuple(rule for rule in missing if rule.name not in known))

    # -- events ------------------------------------------------------------------------------------------

    def log_login_success(self, **details: Any) -> Event:
        """Somebody got in. A warning if failures at or above half a threshold came before."""
        return self._log(EventType.LOGIN_SUCCESS, "Successful login of {}", details)

    def log_login_failed(self, *, reason: str = "invalid_credentials", **details: Any) -> Event:
        """A guess was wrong. An error if a threat is open on its address."""
        return self._log(EventType.LOGIN_FAILED, "Failed login attempt for {}", {"reason": reason, **details})

    def log_logout(self, **details: Any) -> Event:
        """Somebody left."""
        return self._log(EventType.LOGOUT, "Logout of {}", details)

    def log_account_locked(self, *, reason: str = "", **details: Any) -> Event:
        """An account was locked, by the project or by an operator."""
        event = self._log(EventType.ACCOUNT_LOCKED, "Account {} locked", {"reason": reason, **details})
        emit.send(signals.account_locked, account=_identifier(details), rule=details.get("rule", ""))
        return event

    def log_account_unlocked(self, *, reason: str = "", **details: Any) -> Event:
        """An account was unlocked again."""
        event = self._log(EventType.ACCOUNT_UNLOCKED, "Account {} unlocked", {"reason": reason, **details})
        emit.send(signals.account_unlocked, account=_identifier(details), by=details.get("by", ""))
        return event

    def log_password_changed(self, **details: Any) -> Event:
        """An account has a new password."""
        return self._log(EventType.PASSWORD_CHANGED, "Password of {} changed", details)

    def log_2fa_enabled(self, **details: Any) -> Event:
        """An account has a second factor now."""
        return self._log(EventType.TWO_FACTOR_ENABLED, "Two-factor authentication of {} enabled", details)

    def log_2fa_disabled(self, **details: Any) -> Event:
        """An account has no second factor any more."""
        return self._log(EventType.TWO_FACTOR_DISABLED, "Two-factor authentication of {} disabled", details)

    def log_permission_denied(self, **details: Any) -> Event:
        """Somebody asked for something that is not theirs."""
        return self._log(EventType.PERMISSION_DENIED, "Permission denied to {}", details)

    def log_data_access(self, user: Any = None, resource: object = "", action: str = "read", **details: Any) -> Event:
        """Somebody touched data that is worth a line.

        ``user``: a user object, from which the names are taken. ``resource``: what it was, such as "payroll".
        ``action``: read, create, update, delete, export or a word of your own.
        """
        details = {**names_of(user), "resource": resource, "action": action, **details}
        return self._log(EventType.DATA_ACCESS, "Data access by {}", details)

    def log_suspicious_activity(self, *, severity: Severity | str | None = None, **details: Any) -> Event:
        """The project itself noticed something. Critical unless ``severity`` says otherwise."""
        return self._log(EventType.SUSPICIOUS_ACTIVITY, "Suspicious activity of {}", details, severity=severity)

    def log(
        self,
        event_type: str,
        *,
        message: str | None = None,
        severity: Severity | str | None = None,
        **details: Any,
    ) -> Event:
        """Any event, of a type in the vocabulary or of the project's own (then a ``category`` may be given).

        Raises ValueError for what cannot be the name of an event type.
        """
        spec_of(event_type)
        text = message if message is not None else _MESSAGES.get(event_type) or _default_message(event_type)
        return self._log(event_type, text, details, severity=severity, literal=message is not None)

    def count(self, event_type: str, *, request: Any = None, **details: Any) -> None:
        """Let the rules count an event that is not worth a line, and act on what they make of it."""
        settings = get_settings()
        pipeline = self.pipeline
        if (
            settings.mode == "off"
            or event_type in settings.disabled_events
            or not pipeline.detector.watches(event_type)
        ):
            return
        who = self._who(pipeline, event_type, {"request": request, **details})
        findings = pipeline.counted(event_type, who.observation)
        follow_up(findings.opened, who.context, who.address, who.alias)
        keep_up(findings.continued, who.context, who.address)

    def forgive(self, *event_types: str, request: Any = None, user: Any = None) -> None:
        """Somebody got it right in the end: these events of his, from the same address, count no more."""
        if get_settings().mode != "off":
            who = self._who(self.pipeline, event_types[0], {"request": request, **names_of(user)})
            self.pipeline.forgive(event_types, who.observation)

    def attempt_passed(self, *, request: Any = None, user: Any = None) -> None:
        """The password was right, though nobody may be logged in for it (a second factor is still to come).

        Frees the reservation at once. For doors that know better than Django's signals; logs nothing.
        """
        if get_settings().mode != "off":
            who = self._who(self.pipeline, "", {"request": request, **names_of(user)})
            self._settle_passed(who, _canonical(names_of(user)))

    # -- questions ---------------------------------------------------------------------------------------

    def is_suspicious_activity(self, *, ip_address: str | None = None, email: str | None = None) -> bool:
        """Is a threat open on this address, or on this account?"""
        return bool(self._findings(ip_address, email).open)

    def open_threats(self, *, address: ClientAddress | None = None, account: str | None = None) -> list[str]:
        """The rules whose threats are open on an address or an account, those of the longest window first."""
        found = self.pipeline.findings(address=address, account=normalize_identifier(account)).open
        rules = self.pipeline.detector.rules
        return sorted(found, key=lambda name: (-rules[name].window_ms, name))

    def get_failed_login_count(self, ip: str) -> int:
        """Failed logins of an address within the window of the rule brute_force."""
        return self._findings(ip, None).counts.get("brute_force", 0)

    def reset(self, *, ip_address: str | None = None, email: str | None = None) -> None:
        """Close the threats of an address or an account and count it from nought.

        Raises ValueError if neither is given.
        """
        if ip_address is None and email is None:
            raise ValueError("reset() needs ip_address=… or email=…: it does not reset everybody.")
        self.pipeline.forget(address=_known(ip_address), account=normalize_identifier(email))

    def _findings(self, ip_address: str | None, email: str | None) -> Findings:
        return self.pipeline.findings(address=_known(ip_address), account=normalize_identifier(email))

    # -- how ---------------------------------------------------------------------------------------------

    def _log(
        self,
        event_type: str,
        message: str,
        details: dict[str, Any],
        *,
        severity: Severity | str | None = None,
        literal: bool = False,
    ) -> Event:
        origin = emit.calling_function(2)
        settings, pipeline = get_settings(), self.pipeline
        is_on = settings.mode != "off" and event_type not in settings.disabled_events
        severity = details.pop("severity", severity)
        who = self._who(pipeline, event_type, details)
        findings = self._count(pipeline, event_type, who) if is_on else Findings()
        spec = spec_of(event_type)
        category = _member(Category, details.pop("category", None)) or spec.category
        grade = _member(Severity, severity) or _severity(event_type, spec.severity, findings, pipeline.detector.rules)
        head = {"event_type": str(event_type), "category": category.value, "severity": grade.value}
        # The head comes first and wins: no detail can make an event look like another one.
        context = {**head, **_context(event_type, who, details, findings, pipeline.detector.rules), **head}
        label = who.label
        text, name = (message, None) if literal else naming(message, label)
        if not who.is_named:
            name = None
        event = Event(str(event_type), text, grade, category, context, origin, is_clean=True, name=name)
        if is_on:
            if is_worth_a_line(event, _client(who)):
                emit.emit(event)
            if findings.opened:
                follow_up(findings.opened, who.context, who.address, who.alias)
            if findings.continued:
                keep_up(findings.continued, who.context, who.address)
            if event_type == EventType.LOGIN_SUCCESS and findings.open:
                self._after_attack(pipeline, who, findings)
        return event

    def _after_attack(self, pipeline: Pipeline, who: _Who, findings: Findings) -> None:
        """Somebody got in where a threat is open: the attacker perhaps. The rule of this name says so once."""
        under_attack = sorted(findings.open - {_AFTER_ATTACK})
        # A device that was logged in to the account before is its owner's, who comes and goes while others guess.
        is_known = any(each.state == "passed" and each.observation.device for each in who.context.attempts)
        if under_attack and not is_known:
            found = pipeline.counted(EventType.SUCCESS_AFTER_ATTACK, who.observation)
            follow_up(found.opened, who.context, who.address, who.alias, open_threats=under_attack)

    def _count(self, pipeline: Pipeline, event_type: str, who: _Who) -> Findings:
        if event_type == EventType.LOGIN_FAILED:
            findings = pipeline.failed(who.context, who.observation, who.alias)
            note_failure(who.context, pipeline.detector, who.observation.account, who.alias)
            return findings
        if event_type == EventType.LOGIN_SUCCESS:
            who.context.authenticated, who.context.denied = True, False
            findings = self._settle_passed(who, _canonical(who.names))
            counted = pipeline.counted(event_type, who.observation)
            findings.opened, findings.continued = counted.opened, counted.continued
            findings.open |= counted.open
            self._note_success(pipeline, who)
            return findings
        return pipeline.counted(event_type, who.observation)

    def _settle_passed(self, who: _Who, link: str | None) -> Findings:
        return self.pipeline.passed(who.context, who.observation, self._usable_link(who, link), self._names(who))

    def _note_success(self, pipeline: Pipeline, who: _Who) -> None:
        """The device is known from now on, and the failures in a row have ended: under names that are the user's."""
        canonical = _canonical(who.names)
        if canonical is None:
            return
        passed = [each for each in who.context.attempts if each.state == "passed" and each.link == canonical]
        typed = [each.observation.account for each in passed if each.observation.account]
        own = list(dict.fromkeys([canonical, *typed]))
        self._remember_device(pipeline, who, own)
        note_success(who.context, pipeline.detector, own, self._names(who), who.observation.user)

    @staticmethod
    def _remember_device(pipeline: Pipeline, who: _Who, own: list[str]) -> None:
        """Not for a name that is another user's too, whose lock it would open. One query, on a new device alone."""
        devices = get_devices()
        if devices.enabled:
            digest = pipeline.detector.account_digest(own[0])
            if devices.find(who.context, own[0], digest) or not are_anothers_too(own, who.observation.user):
                devices.remember(who.context, own, digest)

    def _names(self, who: _Who) -> list[str]:
        """The identifiers that the profile names, normalised."""
        given = (normalize_identifier(who.names.get(name)) for name in ("username", "email"))
        return [name for name in given if name]

    def _who(self, pipeline: Pipeline, event_type: str, details: dict[str, Any]) -> _Who:
        context = context_for(details.pop("request", None))
        given = details.pop("ip_address", None)
        address = context.address if given is None else _address(given)
        names = {}
        for name in ("user_id", "email", "username"):
            value = details.pop(name, None)
            if value is not None:
                names[name] = value
        account = _account(names)
        user = clean_text(names["user_id"]) if "user_id" in names else None
        alias = self._alias(account, names) if event_type == EventType.LOGIN_FAILED else None
        attempt = context.open_attempt(account) if event_type == EventType.LOGIN_FAILED and given is None else None
        if attempt is not None:
            observation = attempt.observation  # what was observed when it was reserved
        else:
            observation = pipeline.observe(
                context, address, account, user, details, event_type or EventType.LOGIN_FAILED
            )
        return _Who(context, address, observation, names, alias)

    def _alias(self, account: str | None, names: dict[str, Any]) -> str | None:
        """What stands in the log for an account that does not exist, if its name shall not."""
        if get_settings().unknown_account_names != "digest" or not account or _account_exists(_identifier(names)):
            return None
        names.pop("email", None)
        names["username"] = alias = pseudonym_of(self.pipeline.detector.digest, "account", account)
        return alias

    def _usable_link(self, who: _Who, link: str | None) -> str | None:
        """May the identifier that was typed count as the user's own from now on?

        Not if it is somebody else's too, by name or mail address: whoever puts another's into his own profile would
        have his right password forgive his guesses at the other's. Nor if his own name is somebody else's too.
        """
        attempt = who.context.open_attempt()
        typed = attempt.observation.account if attempt else None
        if not link or not typed or typed == link:
            return None
        if self.pipeline.detector.is_linked(typed) or not are_anothers_too((typed, link), who.observation.user):
            return link
        return None


def _client(who: _Who) -> str:
    """Whose events are counted together where they are too many."""
    observation = who.observation
    return f"user:{observation.user}" if observation.user else observation.address or "unknown"


def _default_message(event_type: str) -> str:
    return f"{str(event_type).replace('_', ' ').capitalize()}: {{}}"


def _severity(event_type: str, default: Severity, findings: Findings, rules: Mapping[str, Rule]) -> Severity:
    if event_type == EventType.LOGIN_FAILED:
        on_address = any(rules[name].subject in BLOCKABLE_SUBJECTS for name in findings.open)
        return Severity.ERROR if on_address else default
    if event_type == EventType.LOGIN_SUCCESS:
        close = any(count * 2 >= rules[name].threshold for name, count in findings.counts.items())
        return Severity.WARNING if close else default
    return default


def _context(
    event_type: str, who: _Who, details: Mapping[str, Any], findings: Findings, rules: Mapping[str, Rule]
) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for name, value in who.names.items():
        context[name] = clean_text(value) if name != "user_id" else clean(value)
    if "@" in context.get("username", "") and "email" not in context:
        context["email"] = context.pop("username")
    described = who.context.describe(who.address)
    context["ip_address"] = described.pop("ip_address")
    given = clean_context(details)
    user_agent = described.pop("user_agent", "")
    context["user_agent"] = given.pop("user_agent", "") or user_agent
    context.update(given)
    if event_type in _LOGIN_TYPES:
        for rule, key in _COUNTS.items():
            if rule in rules:
                context[key] = findings.counts.get(rule, 0)
    context["is_suspicious"] = bool(findings.open)
    context["event_id"] = new_event_id()
    context.update(described)
    return context


def _identifier(names: Mapping[str, Any]) -> Any:
    """The mail address, else the user name; nothing but text and numbers can be one."""
    given = [names.get("email"), names.get("username")]
    return next((value for value in given if normalize_identifier(value) is not None), None)


def _account(names: Mapping[str, Any]) -> str | None:
    """The account's identifier, normalised."""
    return normalize_identifier(names.get("email")) or normalize_identifier(names.get("username"))


def _canonical(details: Mapping[str, Any]) -> str | None:
    return normalize_identifier(details.get("username")) or normalize_identifier(details.get("email"))


def _address(text: object) -> ClientAddress:
    return get_resolver().address(clean_text(text)) or unknown("no_remote_address")


def _known(ip_address: str | None) -> ClientAddress | None:
    address = None if ip_address is None else _address(ip_address)
    return address if address and address.known else None


def _member(kind: type[_Member], value: object) -> _Member | None:
    """The member of that value, or None: what a caller got wrong must not cost the event."""
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        return None


def _account_exists(identifier: object) -> bool:
    """Is there an account of this name or mail address? Costs a query: only for UNKNOWN_ACCOUNT_NAMES."""
    if not apps.ready:
        return False
    model = get_user_model()
    manager, text = model._default_manager, str(identifier)
    names = {model.USERNAME_FIELD, model.get_email_field_name()} & {field.name for field in model._meta.get_fields()}
    try:
        # All of them counted to the end: a search that stops at the first hit would show by its time who exists.
        found = [manager.filter(**{f"{name}__iexact": text}).count() for name in sorted(names)]
        return any(found)
    except Exception:
        report_failure("could not look up whether an account exists; its name is not logged")
        return False


@until_settings_change
def get_event_logger() -> SecurityEventLogger:
    """The logger that the signal receivers use: an instance of SECGUARD["LOGGER_CLASS"]."""
    given = get_settings().logger_class
    logger_class = import_string(given) if isinstance(given, str) else given
    return cast(SecurityEventLogger, logger_class())


#: An instance of SECGUARD["LOGGER_CLASS"], made when it is first used.
security_event_logger: SecurityEventLogger = cast(SecurityEventLogger, SimpleLazyObject(get_event_logger))


def _renew_logger(**kwargs: object) -> None:
    security_event_logger.__dict__["_wrapped"] = empty


setting_changed.connect(_renew_logger, dispatch_uid="secguard.logging")


class SecurityEvent:
    """The vocabulary as constants, and one function to log any of it."""

    LOGIN_SUCCESS = EventType.LOGIN_SUCCESS
    LOGIN_FAILED = EventType.LOGIN_FAILED
    LOGOUT = EventType.LOGOUT
    ATTEMPT_REFUSED = EventType.ATTEMPT_REFUSED
    ACCOUNT_LOCKED = EventType.ACCOUNT_LOCKED
    ACCOUNT_UNLOCKED = EventType.ACCOUNT_UNLOCKED
    PASSWORD_CHANGED = EventType.PASSWORD_CHANGED
    TWO_FACTOR_ENABLED = EventType.TWO_FACTOR_ENABLED
    TWO_FACTOR_DISABLED = EventType.TWO_FACTOR_DISABLED
    TWO_FACTOR_DEVICE_ADDED = EventType.TWO_FACTOR_DEVICE_ADDED
    TWO_FACTOR_DEVICE_REMOVED = EventType.TWO_FACTOR_DEVICE_REMOVED
    TWO_FACTOR_RESET = EventType.TWO_FACTOR_RESET
    TWO_FACTOR_SUCCESS = EventType.TWO_FACTOR_SUCCESS
    TWO_FACTOR_FAILED = EventType.TWO_FACTOR_FAILED
    CODE_REJECTED = EventType.CODE_REJECTED
    PASSWORD_DISABLED = EventType.PASSWORD_DISABLED
    PASSWORD_RESET_REQUESTED = EventType.PASSWORD_RESET_REQUESTED
    SIGNUP_REJECTED = EventType.SIGNUP_REJECTED
    EMAIL_CHANGED = EventType.EMAIL_CHANGED
    EMAIL_ADDED = EventType.EMAIL_ADDED
    EMAIL_REMOVED = EventType.EMAIL_REMOVED
    USER_CREATED = EventType.USER_CREATED
    USER_DEACTIVATED = EventType.USER_DEACTIVATED
    USER_REACTIVATED = EventType.USER_REACTIVATED
    USER_DELETED = EventType.USER_DELETED
    PRIVILEGES_CHANGED = EventType.PRIVILEGES_CHANGED
    PERMISSION_DENIED = EventType.PERMISSION_DENIED
    AUTHENTICATION_REQUIRED = EventType.AUTHENTICATION_REQUIRED
    CSRF_FAILED = EventType.CSRF_FAILED
    TOKEN_REFRESHED = EventType.TOKEN_REFRESHED
    TOKEN_FORGED = EventType.TOKEN_FORGED
    TOKEN_EXPIRED = EventType.TOKEN_EXPIRED
    TOKEN_REVOKED = EventType.TOKEN_REVOKED
    TOKEN_REJECTED = EventType.TOKEN_REJECTED
    DATA_ACCESS = EventType.DATA_ACCESS
    RATE_LIMIT_EXCEEDED = EventType.RATE_LIMIT_EXCEEDED
    SUSPICIOUS_OPERATION = EventType.SUSPICIOUS_OPERATION
    DISALLOWED_HOST = EventType.DISALLOWED_HOST
    NOT_FOUND = EventType.NOT_FOUND
    SUCCESS_AFTER_ATTACK = EventType.SUCCESS_AFTER_ATTACK
    SUSPICIOUS_ACTIVITY = EventType.SUSPICIOUS_ACTIVITY
    REQUEST_BLOCKED = EventType.REQUEST_BLOCKED
    ADDRESS_BLOCKED = EventType.ADDRESS_BLOCKED
    ADDRESS_UNBLOCKED = EventType.ADDRESS_UNBLOCKED
    BLOCK_SUPPRESSED = EventType.BLOCK_SUPPRESSED
    TRAP_HIT = EventType.TRAP_HIT
    NETWORK_PROPOSED = EventType.NETWORK_PROPOSED
    NETWORK_ALLOWED = EventType.NETWORK_ALLOWED
    NETWORK_DISALLOWED = EventType.NETWORK_DISALLOWED
    COUNTERS_RESET = EventType.COUNTERS_RESET
    LIST_IMPORTED = EventType.LIST_IMPORTED
    CONSECUTIVE_FAILURES_EXCEEDED = EventType.CONSECUTIVE_FAILURES_EXCEEDED
    UNLOCK_MAIL_SENT = EventType.UNLOCK_MAIL_SENT
    DATA_ERASED = EventType.DATA_ERASED
    DATA_EXPORTED = EventType.DATA_EXPORTED
    CLIENT_ADDRESS_UNKNOWN = EventType.CLIENT_ADDRESS_UNKNOWN
    MODE_OVERRIDDEN = EventType.MODE_OVERRIDDEN
    DEGRADED = EventType.DEGRADED
    RECOVERED = EventType.RECOVERED
    EVENTS_NOT_RECORDED = EventType.EVENTS_NOT_RECORDED
    ALERT_NOT_DELIVERED = EventType.ALERT_NOT_DELIVERED

    SEVERITY_INFO = Severity.INFO
    SEVERITY_WARNING = Severity.WARNING
    SEVERITY_ERROR = Severity.ERROR
    SEVERITY_CRITICAL = Severity.CRITICAL

    CATEGORY_AUTHENTICATION = Category.AUTHENTICATION
    CATEGORY_AUTHORIZATION = Category.AUTHORIZATION
    CATEGORY_ACCOUNT = Category.ACCOUNT
    CATEGORY_DATA_ACCESS = Category.DATA_ACCESS
    CATEGORY_THREAT = Category.THREAT
    CATEGORY_SYSTEM = Category.SYSTEM

    #: Event type → category.
    EVENT_CATEGORIES: Mapping[str, Category] = {name: spec.category for name, spec in VOCABULARY.items()}

    @staticmethod
    def log(
        event_type: str,
        *,
        user: Any = None,
        request: Any = None,
        ip_address: str | None = None,
        severity: Severity | str | None = None,
        message: str | None = None,
        **context: Any,
    ) -> Event:
        """Log an event with the logger in force. ``user``: a user object, from which its names are taken.

        Raises ValueError for what cannot be the name of an event type.
        """
        if user is not None:
            context = {**names_of(user), **context}
        return get_event_logger().log(
            event_type, request=request, ip_address=ip_address, severity=severity, message=message, **context
        )


def names_of(user: Any) -> dict[str, Any]:
    """What an event's line says of a user object; nothing for an anonymous one."""
    if user is None or not getattr(user, "is_authenticated", False):
        return {}
    email = getattr(user, user.get_email_field_name(), None) if hasattr(user, "get_email_field_name") else None
    username = user.get_username()
    if not isinstance(username, (str, int)):
        username = str(_as_stored(type(user).USERNAME_FIELD, username))
    return {"user_id": user.pk, "username": username, **({"email": email} if email else {})}


#: Where else than under USERNAME_FIELD an identifier may come.
_IDENTIFIERS = ("username", "email", "login", "user", "phone", "phone_number")


@until_settings_change
def _identifier_names() -> tuple[str, ...]:
    return (get_user_model().USERNAME_FIELD, *_IDENTIFIERS)


def identifier_in(credentials: Mapping[str, Any]) -> Any:
    """The account that credentials are for, as it was typed, or as its field spells it; None if they name none."""
    for name in _identifier_names():
        if credentials.get(name):
            return _as_stored(name, credentials[name])
    return None


@until_settings_change
def _spelling_fields() -> Mapping[str, models.Field[Any, Any]]:
    """By the name of a credential, the users' field that it is looked up in, where that has a spelling of its own."""
    model = get_user_model()
    own = {field.name: field for field in model._meta.get_fields() if isinstance(field, models.Field)}
    fields = {name: own.get(name, own[model.USERNAME_FIELD]) for name in (*own, "username")}
    plain = (models.CharField.get_prep_value, models.TextField.get_prep_value)
    return {name: fields[name] for name in fields if type(fields[name]).get_prep_value not in plain}


def _as_stored(name: str, value: Any) -> Any:
    """The identifier as the database is asked for it. Numbers, keys and phone numbers have many spellings: counted for
    itself, each would give as many guesses again."""
    field = _spelling_fields().get(name)
    if field is None:
        return value
    try:
        stored = field.get_prep_value(value)
    except Exception:
        return value  # no such thing: no user has it
    return stored if isinstance(stored, (str, int)) else str(stored)
