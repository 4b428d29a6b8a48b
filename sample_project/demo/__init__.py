"""Attacks the sample site over HTTP and holds what happened against what was promised."""
