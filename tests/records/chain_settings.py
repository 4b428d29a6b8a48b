"""Settings of processes that write into one chain: the database is in the environment."""

import json
import os

SECRET_KEY = "x" * 50
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "secguard"]
DATABASES = {"default": json.loads(os.environ["CHAIN_DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECGUARD = {"AUDIT_CHAIN": True, "HMAC_KEY": "a key that all processes share"}
