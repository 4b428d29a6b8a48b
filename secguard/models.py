"""Decisions, which must outlive every cache, and the record of what happened. Counters that rules go by are not kept
here, but for one that a standard wants durable."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _


class Decision(models.Model):
    """Something that was decided, from ``created_at`` until it expires or is lifted.

    Rows are never changed but to lift them, so that they are the history too. Times are the database's.
    """

    reference = models.UUIDField(_("reference"), default=uuid.uuid4, unique=True, editable=False)
    rule = models.CharField(_("rule"), max_length=64, blank=True)
    reason = models.CharField(_("reason"), max_length=255, blank=True)
    counter = models.CharField(_("counter"), max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated at"), db_index=True, editable=False)
    lifted_at = models.DateTimeField(_("lifted at"), null=True, blank=True, editable=False)
    created_by = models.CharField(_("created by"), max_length=150, blank=True)
    lifted_by = models.CharField(_("lifted by"), max_length=150, blank=True)
    lift_reason = models.CharField(_("reason of lifting"), max_length=255, blank=True)

    class Meta:
        abstract = True
        ordering = ("-created_at", "-pk")
        # What may be done to decisions is one permission, of blocks: manage_blocks.
        default_permissions = ("view",)
        indexes = (models.Index(fields=["lifted_at", "expires_at"], name="%(app_label)s_%(class)s_active"),)

    def state_at(self, now: datetime) -> str:
        """``in force``, ``expired`` or ``lifted``."""
        if self.lifted_at:
            return "lifted"
        return "in force" if self.expires_at is None or self.expires_at > now else "expired"


def in_force_at(now: object) -> models.Q:
    """The decisions that hold then. ``now``: a time, or an expression of the database's."""
    return (models.Q(expires_at=None) | models.Q(expires_at__gt=now)) & models.Q(lifted_at=None)


def ended_at(now: object) -> models.Q:
    """Those that do not hold any more."""
    return models.Q(expires_at__lte=now) | models.Q(lifted_at__isnull=False)


class Block(Decision):
    """An address or network that is refused.

    Several rows may block one network; the one that lasts longest is in force. ``list_name``: the imported list that
    the row belongs to, or empty.
    """

    network = models.CharField(
        _("network"), max_length=49, db_index=True, help_text=_("An address, or a network in CIDR notation.")
    )
    list_name = models.CharField(_("list"), max_length=64, blank=True, db_index=True)

    class Meta(Decision.Meta):
        verbose_name = _("block")
        verbose_name_plural = _("blocks")
        permissions = (("manage_blocks", _("Can block, lock and allow, and lift that")),)

    def __str__(self) -> str:
        return self.network


class AllowedNetwork(Decision):
    """An address or network that is never refused, whatever the rules make of it."""

    network = models.CharField(
        _("network"), max_length=49, db_index=True, help_text=_("An address, or a network in CIDR notation.")
    )

    class Meta(Decision.Meta):
        verbose_name = _("allowed network")
        verbose_name_plural = _("allowed networks")

    def __str__(self) -> str:
        return self.network


class AccountLock(Decision):
    """An account whose logins are refused: everybody's, or those from devices that never were logged in to it.

    ``digest``: the account's keyed digest in hexadecimal, so that a name that no user has is locked like any other.
    ``account``: the identifier, normalised, for the people who read it.
    """

    class Scope(models.TextChoices):
        ALL = "all", _("everybody")
        UNKNOWN_DEVICES = "unknown_devices", _("unknown devices")

    digest = models.CharField(_("digest"), max_length=32, db_index=True, editable=False)
    account = models.CharField(_("account"), max_length=254, blank=True)
    scope = models.CharField(_("scope"), max_length=16, choices=Scope.choices, default=Scope.ALL)

    class Meta(Decision.Meta):
        verbose_name = _("account lock")
        verbose_name_plural = _("account locks")

    def __str__(self) -> str:
        return self.account or self.digest


class FailureCount(models.Model):
    """Consecutive failed logins of an account: durable, without a window, ended by a success alone."""

    digest = models.CharField(_("digest"), max_length=32, primary_key=True, editable=False)
    account = models.CharField(_("account"), max_length=254, blank=True)
    count = models.PositiveIntegerField(_("count"), default=0)
    since = models.DateTimeField(_("since"))
    updated_at = models.DateTimeField(_("updated at"), db_index=True)

    class Meta:
        verbose_name = _("count of consecutive failures")
        verbose_name_plural = _("counts of consecutive failures")

    def __str__(self) -> str:
        return f"{self.account or self.digest}: {self.count}"


class EventRecord(models.Model):
    """One event, as its line in the log says it. Written once, in bulk, and never changed but to erase somebody.

    ``timestamp``: when it happened, by the clock of the process that logged it. ``ip_address``, ``network``,
    ``account``: as SECGUARD["PRIVACY"] has them shown. ``network``: what an address is counted by, so that an IPv6
    client is found by its /64. ``account_digest``: the identifier's keyed digest in hexadecimal, by which an account
    is found whatever is shown of its name. ``count``: how many events the row stands for, or how many made a threat.
    ``country``: ISO 3166-1 alpha-2, or empty. ``extra``: what else the line says.

    ``sequence``, ``link``, ``commitment``, ``nonce``: the row's place in the chain, or None and empty outside of it.
    ``erasure``: of a row whose personal fields were erased, a mark that only the project's key can make.
    """

    class Severity(models.TextChoices):
        INFO = "info", _("info")
        WARNING = "warning", _("warning")
        ERROR = "error", _("error")
        CRITICAL = "critical", _("critical")

    class Category(models.TextChoices):
        AUTHENTICATION = "authentication", _("authentication")
        AUTHORIZATION = "authorization", _("authorization")
        ACCOUNT = "account", _("account")
        DATA_ACCESS = "data_access", _("data access")
        THREAT = "threat", _("threat")
        SYSTEM = "system", _("system")

    event_id = models.UUIDField(_("event id"), unique=True, editable=False)
    timestamp = models.DateTimeField(_("time"), editable=False)
    event_type = models.CharField(_("type"), max_length=64, editable=False)
    category = models.CharField(_("category"), max_length=16, choices=Category.choices, editable=False)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity.choices, editable=False)
    message = models.CharField(_("message"), max_length=512, blank=True, editable=False)
    ip_address = models.CharField(_("address"), max_length=64, blank=True, editable=False)
    network = models.CharField(_("network"), max_length=64, blank=True, editable=False)
    country = models.CharField(_("country"), max_length=2, blank=True, editable=False)
    account = models.CharField(_("account"), max_length=254, blank=True, editable=False)
    account_digest = models.CharField(_("account digest"), max_length=32, blank=True, editable=False)
    user_id = models.CharField(_("user id"), max_length=64, blank=True, editable=False)
    rule = models.CharField(_("rule"), max_length=64, blank=True, editable=False)
    count = models.PositiveIntegerField(_("count"), null=True, editable=False)
    method = models.CharField(_("method"), max_length=16, blank=True, editable=False)
    path = models.CharField(_("path"), max_length=512, blank=True, editable=False)
    user_agent = models.CharField(_("user agent"), max_length=512, blank=True, editable=False)
    request_id = models.CharField(_("request id"), max_length=128, blank=True, editable=False)
    extra = models.JSONField(_("further details"), default=dict, editable=False)
    sequence = models.BigIntegerField(_("place in the chain"), null=True, editable=False)
    link = models.CharField(_("link"), max_length=64, blank=True, editable=False)
    commitment = models.CharField(_("commitment"), max_length=64, blank=True, editable=False)
    nonce = models.CharField(_("nonce"), max_length=32, blank=True, editable=False)
    erasure = models.CharField(_("mark of erasure"), max_length=64, blank=True, editable=False)

    class Meta:
        verbose_name = _("security event")
        verbose_name_plural = _("security events")
        ordering = ("-timestamp", "-pk")
        default_permissions = ("view",)
        permissions = (("erase_data", _("Can erase and export what is held of somebody")),)
        # One for each filter of the pages, each ordered as they are.
        indexes = (
            models.Index(fields=["-timestamp", "-id"], name="secguard_event_time"),
            models.Index(fields=["event_type", "-timestamp"], name="secguard_event_type"),
            models.Index(fields=["category", "-timestamp"], name="secguard_event_category"),
            models.Index(fields=["severity", "-timestamp"], name="secguard_event_severity"),
            models.Index(fields=["rule", "-timestamp"], name="secguard_event_rule"),
            models.Index(fields=["country", "-timestamp"], name="secguard_event_country"),
            models.Index(fields=["network", "-timestamp"], name="secguard_event_network"),
            models.Index(fields=["account_digest", "-timestamp"], name="secguard_event_account"),
            models.Index(fields=["request_id"], name="secguard_event_request"),
            # Not unique: two rows of one place are found by 'verify', and must not keep out the next.
            models.Index(fields=["sequence"], name="secguard_event_sequence"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"


class ChainHead(models.Model):
    """Where the chain of events ends, and where pruning has let it begin: one row, which writers lock.

    ``anchor_sequence``, ``anchor_link``: of the last row that was pruned, or 0 and empty. ``seal``: of the other
    fields, under the project's key.
    """

    sequence = models.BigIntegerField(_("place"), default=0, editable=False)
    link = models.CharField(_("link"), max_length=64, blank=True, editable=False)
    anchor_sequence = models.BigIntegerField(_("place of the anchor"), default=0, editable=False)
    anchor_link = models.CharField(_("link of the anchor"), max_length=64, blank=True, editable=False)
    seal = models.CharField(_("seal"), max_length=64, blank=True, editable=False)
    turns = models.BigIntegerField(_("times locked"), default=0, editable=False)

    class Meta:
        verbose_name = _("head of the chain")
        verbose_name_plural = _("heads of the chain")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.sequence}:{self.link}"


class EventCount(models.Model):
    """How many events of a type, and of a rule, a minute or an hour had, whether they have lines and rows or not."""

    class Span(models.IntegerChoices):
        MINUTE = 60, _("minute")
        HOUR = 3_600, _("hour")

    span = models.PositiveSmallIntegerField(_("seconds"), choices=Span.choices, editable=False)
    start = models.DateTimeField(_("start"), editable=False)
    event_type = models.CharField(_("type"), max_length=64, editable=False)
    rule = models.CharField(_("rule"), max_length=64, blank=True, editable=False)
    count = models.PositiveBigIntegerField(_("count"), default=0, editable=False)

    class Meta:
        verbose_name = _("count of events")
        verbose_name_plural = _("counts of events")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["span", "start", "event_type", "rule"], name="secguard_event_count_unique"),
        )

    def __str__(self) -> str:
        return f"{self.count} {self.event_type} {self.start:%Y-%m-%d %H:%M}"
