"""Decisions, which must outlive every cache. Counters are not kept here."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _


class Block(models.Model):
    """An address or network that is refused, from ``created_at`` until it expires or is lifted.

    Rows are never changed but to lift them, so that they are the history too. Several rows may block one
    network; the one that lasts longest is in force. Times are the database's.
    """

    network = models.CharField(
        _("network"), max_length=49, db_index=True, help_text=_("An address, or a network in CIDR notation.")
    )
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
        verbose_name = _("block")
        verbose_name_plural = _("blocks")
        ordering = ("-created_at", "-pk")
        indexes = (models.Index(fields=["lifted_at", "expires_at"], name="secguard_block_active"),)

    def __str__(self) -> str:
        return self.network
