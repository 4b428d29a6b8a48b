"""A Django project of one page that uses the installed package without any optional dependency."""

import json
import logging
import sys

import django
from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.urls import path


def login(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
    return HttpResponse(status=200 if user else 401)


urlpatterns = [path("login/", login)]

settings.configure(
    SECRET_KEY="smoke",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "secguard",
    ],
    MIDDLEWARE=[
        "secguard.middleware.SecurityGuardMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    AUTHENTICATION_BACKENDS=[
        "secguard.backends.SecurityGuardBackend",
        "django.contrib.auth.backends.ModelBackend",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
)


class Lines(logging.Handler):
    """Keeps what was logged, as parsed JSON lines."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.contexts.append(json.loads(self.format(record))["context"])


def main() -> None:
    django.setup()
    from django.core.management import call_command
    from django.test import Client

    from secguard.formatters import SecurityJsonFormatter

    lines = Lines()
    lines.setFormatter(SecurityJsonFormatter())
    logging.getLogger("security.events").addHandler(lines)

    call_command("migrate", verbosity=0)
    call_command("check")
    client = Client(REMOTE_ADDR="192.0.2.1")
    guess = {"username": "nobody", "password": "wrong"}
    statuses = [client.post("/login/", guess).status_code for _ in range(6)]

    if statuses != [401] * 5 + [403]:
        sys.exit(f"five guesses should be answered and the sixth refused, got {statuses}")
    failures = [context for context in lines.contexts if context["event_type"] == "login_failed"]
    if len(failures) != 5:
        sys.exit(f"five failures should be logged, got {lines.contexts}")
    if optional := {"redis", "django_redis", "rest_framework"} & set(sys.modules):
        sys.exit(f"optional dependencies were imported: {optional}")
    print(f"secguard works on Django {django.get_version()}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
