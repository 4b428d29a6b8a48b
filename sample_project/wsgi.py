"""The sample site for a WSGI server."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sample_project.settings")

# Serves the style sheets too: a real site leaves them to its web server.
application = StaticFilesHandler(get_wsgi_application())
