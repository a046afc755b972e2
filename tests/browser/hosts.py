"""A page of a host, for the tests: its address gives the template and the policy."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src {frames}"
)

PAGE = """{{% load kapso_inbox static %}}<!doctype html>
<html lang="en" dir="{direction}">
<head><meta charset="utf-8"><title>A host</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{{% static "crm/favicon.svg" %}}">
<link rel="stylesheet" href="{{% static "host/host.css" %}}">
{head}{{% kapso_inbox_assets %}}</head>
<body>{body}</body>
</html>"""


def host(request: HttpRequest) -> HttpResponse:
    """Render a page from the query, whose `body` and `head` are template source.

    `frames` is the page's `frame-src`. `reported` is a `frame-src` that is only reported. `cache`
    is its `Cache-Control`, `embedder` its `Cross-Origin-Embedder-Policy`. With `framable`, any site
    may frame it.
    """
    given = {"head": "", "body": "", "direction": "ltr", **request.GET.dict()}
    source = "{% load kapso_inbox %}" + given["body"] if "bare" in given else PAGE.format(**given)
    response = HttpResponse(Template(source).render(RequestContext(request, given)))
    frames = given.get("frames") or " ".join(("'self'", *settings.KAPSO_INBOX["INBOX_ORIGINS"]))
    response["Content-Security-Policy"] = STRICT.format(frames=frames)
    if reported := given.get("reported"):
        response["Content-Security-Policy-Report-Only"] = f"frame-src {reported}"
    if cache := given.get("cache"):
        response["Cache-Control"] = cache
    if embedder := given.get("embedder"):
        response["Cross-Origin-Embedder-Policy"] = embedder
    response.xframe_options_exempt = "framable" in given  # type: ignore[attr-defined]
    return response


def service_worker(request: HttpRequest) -> HttpResponse:
    """Return a service worker that passes every request on, `first` running its own line first."""
    first = request.GET.get("first", "")
    script = f"onfetch = (event) => {{ {first}; event.respondWith(fetch(event.request)); }};"
    return HttpResponse(script, content_type="text/javascript")


urlpatterns = [
    path("host/", host),
    path("worker.js", service_worker),
    path("", include("crm.urls")),
]
