"""Security events, attack detection and blocking for Django."""

__version__ = "0.1.0"
