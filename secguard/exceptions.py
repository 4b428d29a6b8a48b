"""Everything secguard raises on purpose."""


class SecguardError(Exception):
    """Base class of every error that secguard raises on purpose."""


class InvalidSetting(SecguardError, ValueError):
    """A key of ``settings.SECGUARD`` is unknown or its value is out of range.

    ``setting`` names the key, ``problem`` says what was found, ``hint`` what to do about it.
    """

    def __init__(self, setting: str, problem: str, hint: str) -> None:
        super().__init__(f"SECGUARD[{setting!r}] {problem}. {hint}")
        self.setting = setting
        self.problem = problem
        self.hint = hint


class InvalidRule(SecguardError, ValueError):
    """A detection rule contradicts itself or has a field out of range."""


class StoreError(SecguardError):
    """The counter store did not do what was asked of it; the cause is chained."""


def shown(value: object, limit: int = 80) -> str:
    """A value as the text of an error shows it: its ``repr``, cut; of what has none, the class."""
    try:
        return f"{value!r:.{limit}}"
    except Exception:  # an integer of over 4,300 digits, lists in lists in lists, whatever the value itself raises
        return f"<{type(value).__name__}>"
