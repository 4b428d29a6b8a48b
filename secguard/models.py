"""Decisions, which must outlive every cache. Counters are not kept here, but for one that a standard wants durable."""

from __future__ import annotations

import uuid

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
        indexes = (models.Index(fields=["lifted_at", "expires_at"], name="%(app_label)s_%(class)s_active"),)


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
