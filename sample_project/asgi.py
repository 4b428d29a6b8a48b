"""The sample site for an ASGI server."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sample_project.settings")

# Serves the style sheets too: a real site leaves them to its web server.
application = ASGIStaticFilesHandler(get_asgi_application())
