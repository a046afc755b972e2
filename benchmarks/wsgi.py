"""The host as gunicorn serves it, with what `benchmarks.workers` tells it in the environment."""

from __future__ import annotations

import json
import os

from .host import configure

told = json.loads(os.environ["KAPSO_INBOX_BENCHMARK"])
configure(told["kapso"], told["database"])

from django.core.wsgi import get_wsgi_application  # noqa: E402 (after the settings)

application = get_wsgi_application()
