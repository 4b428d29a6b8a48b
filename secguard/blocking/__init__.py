"""Blocking: what is refused, why, and what the refused get to see. Knows no database."""
