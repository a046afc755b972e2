"""Cross-origin requests to the API, as django-cors-headers allows them with docs/another-origin.md.

It is written out here because the tests of this app do not require that package.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

Handler = Callable[[HttpRequest], HttpResponse]


def allow_the_front_end(get_response: Handler) -> Handler:
    """Let one other origin send requests with a token, and read the answers."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/api/"):
            return get_response(request)
        asks_first = "Access-Control-Request-Method" in request.headers
        response = HttpResponse() if asks_first else get_response(request)
        patch_vary_headers(response, ["origin"])
        if request.headers.get("Origin") == os.environ["FRONT_END_ORIGIN"]:
            response["Access-Control-Allow-Origin"] = os.environ["FRONT_END_ORIGIN"]
            if asks_first:
                response["Access-Control-Allow-Headers"] = "authorization, content-type"
        return response

    return middleware
