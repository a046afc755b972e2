"""The host for gunicorn, configured by `benchmarks.workers` through the environment."""

from __future__ import annotations

import json
import os

from .host import configure

told = json.loads(os.environ["KAPSO_INBOX_BENCHMARK"])
configure(told["kapso"], told["database"])

from django.core.wsgi import get_wsgi_application  # noqa: E402 (after the settings)

application = get_wsgi_application()
