"""Log formatters, and in `secguard.formatters.text` the helpers that make any value safe to log."""

from secguard.formatters.cef import CefFormatter
from secguard.formatters.ecs import EcsFormatter
from secguard.formatters.json_lines import SecurityJsonFormatter
from secguard.formatters.ocsf import OcsfFormatter

__all__ = ["CefFormatter", "EcsFormatter", "OcsfFormatter", "SecurityJsonFormatter"]
