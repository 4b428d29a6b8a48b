"""Log formatters, and in `secguard.formatters.text` the helpers that make any value safe to log."""

from secguard.formatters.json_lines import SecurityJsonFormatter

__all__ = ["SecurityJsonFormatter"]
