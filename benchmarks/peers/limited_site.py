"""The measured site as django-ratelimit guards it."""

from django.contrib.auth.views import LoginView
from django.urls import path
from django_ratelimit.decorators import ratelimit

from benchmarks.peers.candidates import LIMIT, MINUTES
from benchmarks.site import index

limited = ratelimit(key="ip", rate=f"{LIMIT}/{MINUTES}m", method="POST", block=True)

urlpatterns = [path("", index), path("login/", limited(LoginView.as_view()))]
