"""The test site's addresses, with the metrics of all processes as the page on monitoring has it."""

from django.urls import path

from tests import urls
from tests.test_docs import block_with, run_block

metrics = run_block(block_with("monitoring.md", "def metrics("))["metrics"]

urlpatterns = [*urls.urlpatterns, path("metrics", metrics)]
