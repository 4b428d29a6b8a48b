"""Each kind of security event, logged through the facade, and the lines that it makes.

Runs from a checkout, with nothing configured: ``python docs/examples/security_logging_usage.py``. It makes a Django of
its own in memory, acts as a shop would that somebody guesses at, and prints one line of JSON for each event. Nothing is
written to disk.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import django
from django.conf import settings
from django.core.management import call_command

ATTACKER, ALICE, BOB = "203.0.113.7", "198.51.100.20", "198.51.100.21"


def main() -> None:
    configure()
    from secguard.logging import SecurityEvent, security_event_logger

    log = security_event_logger

    # Logins. With secguard's middleware and backend Django's signals bring these about: no call is needed.
    log.log_login_success(email="alice@example.com", user_id=7, ip_address=ALICE, user_agent="Firefox")
    for _ in range(5):
        log.log_login_failed(email="alice@example.com", ip_address=ATTACKER, user_agent="curl/8.5")
    log.log_logout(email="alice@example.com", user_id=7, ip_address=ALICE)

    # What became of the account.
    log.log_account_locked(email="alice@example.com", ip_address=ATTACKER, reason="too_many_reports", by="support")
    log.log_account_unlocked(email="alice@example.com", reason="called_back", by="support")
    log.log_password_changed(email="alice@example.com", user_id=7, ip_address=ALICE)
    log.log_2fa_enabled(email="alice@example.com", user_id=7, ip_address=ALICE, factor="totp")
    log.log_2fa_disabled(email="alice@example.com", user_id=7, ip_address=ALICE, factor="totp")

    # What somebody asked for, and what somebody was shown.
    log.log_permission_denied(username="bob", user_id=8, ip_address=BOB, reason="not_the_owner")
    log.log_data_access(None, "customers", "export", username="carol", ip_address="198.51.100.22", rows=1200)

    # What only the shop knows.
    log.log_suspicious_activity(email="alice@example.com", ip_address=ATTACKER, reason="ships_to_new_country")
    SecurityEvent.log(
        "coupon_failed",
        username="bob",
        ip_address=BOB,
        severity="info",
        coupon="SPRING",
        api_token="4e0f6d",
    )

    # Nothing that somebody types forges a line.
    log.log_login_failed(username='eve\n{"event_type": "login_success"}', ip_address="192.0.2.9")

    # Questions.
    suspicious, failures = log.is_suspicious_activity(ip_address=ATTACKER), log.get_failed_login_count(ATTACKER)
    print(f"{ATTACKER} is suspicious: {suspicious}, after {failures} failures.", file=sys.stderr)


def configure() -> None:
    """A Django with the app and its tables, whose security events go to standard output."""
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "secguard"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        SECRET_KEY="a key for this example alone",
        SECGUARD={"BLOCK_JITTER": 0},
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"security": {"()": "secguard.formatters.SecurityJsonFormatter"}},
            "handlers": {
                "security": {"class": "logging.StreamHandler", "stream": sys.stdout, "formatter": "security"},
            },
            "loggers": {"security.events": {"handlers": ["security"], "level": "INFO", "propagate": False}},
        },
    )
    django.setup()
    # What secguard has to say about itself, to standard error.
    logging.getLogger("secguard").addHandler(logging.StreamHandler())
    call_command("migrate", verbosity=0)


if __name__ == "__main__":
    main()
