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
