"""A URLconf with a pattern that takes addresses of ours, as that of a content management system."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.clickjacking import xframe_options_sameorigin

from .hosts import urlpatterns as hosts


@xframe_options_sameorigin
def page(request: HttpRequest) -> HttpResponse:
    """Answer as a content management system does for an address that it does not know."""
    return HttpResponse(
        "<title>No such page</title><h1>No such page</h1>",
        status=404,
        # In place of the CRM's own, which lets nobody frame its pages.
        headers={"Content-Security-Policy": "default-src 'none'"},
    )


urlpatterns = [
    re_path(r"^kapso-inbox/support/", page),
    *hosts,
]
