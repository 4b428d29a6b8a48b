"""The signals that secguard sends. Receivers that raise are logged, and change nothing for the user.

=================== ==========================================================================
event_logged        ``event``: every event, after its line was written, and as that shows it
threat_detected     ``threat``, ``event``, ``request`` (or None): a rule tripped
address_blocked     ``network``, ``rule``, ``duration`` (seconds or None), ``reference``
address_unblocked   ``network``, ``by``
account_locked      ``account``, ``rule``
account_unlocked    ``account``, ``by``
consecutive_failures_exceeded ``account``, ``count``, ``user`` (or None): see MAX_CONSECUTIVE_FAILURES
permission_denied   ``request``, ``user`` and further context: send it yourself for a denial
                    that Django does not see
=================== ==========================================================================
"""

from django.dispatch import Signal

event_logged = Signal()
threat_detected = Signal()
address_blocked = Signal()
address_unblocked = Signal()
account_locked = Signal()
account_unlocked = Signal()
consecutive_failures_exceeded = Signal()
permission_denied = Signal()
