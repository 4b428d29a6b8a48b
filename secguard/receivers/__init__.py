"""Django's own signals and loggers → events. Connected by the app."""

from secguard.receivers import loggers, logins, users


def connect() -> None:
    logins.connect()
    users.connect()
    loggers.connect()
