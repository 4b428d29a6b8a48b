"""Detection: rules over sliding windows, and the detector that applies them."""

from secguard.detection.catalogue import DEFAULT_RULES, with_overrides
from secguard.detection.detector import Detector, Observation, Threat
from secguard.detection.identity import normalize_identifier
from secguard.detection.rule import Action, Rule

__all__ = [
    "DEFAULT_RULES",
    "Action",
    "Detector",
    "Observation",
    "Rule",
    "Threat",
    "normalize_identifier",
    "with_overrides",
]
