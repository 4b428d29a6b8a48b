"""secguard beside django-axes, django-defender and django-ratelimit on the same site: ``make bench-peers``."""
