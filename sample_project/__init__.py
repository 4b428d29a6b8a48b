"""A small site that uses secguard, and the demo that attacks it."""
