"""How long the long tests are: SECGUARD_SOAK=10 makes them ten times as long, as ``make soak`` does."""

from __future__ import annotations

import os

SIZE = int(os.environ.get("SECGUARD_SOAK", "1"))
