"""A host whose own code stands in the way of a launch: a cookie says how."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse

from kapso_inbox.access import AccessPolicy

GetResponse = Callable[[HttpRequest], HttpResponse]


def how(request: HttpRequest) -> str:
    """Return how the request of a frame is hindered; "" for all others."""
    is_frame = request.headers.get("Sec-Fetch-Dest") == "iframe"
    return request.COOKIES.get("hinder", "") if is_frame else ""


def hinder(get_response: GetResponse) -> GetResponse:
    """Answer in place of the launch, as middlewares of hosts do."""

    def middleware(request: HttpRequest) -> HttpResponse:
        match how(request):
            case "forbid":
                return JsonResponse({"detail": "Choose an organisation first."}, status=403)
            case "choose" if request.path != "/host/":
                body = "<h1>Choose an organisation</h1>"
                return HttpResponseRedirect(f"/host/?bare=1&framable=1&body={body}")
            case "maintain":
                return HttpResponse("<title>Back soon</title><p>We are back soon.", status=503)
            case "raise":
                raise LookupError("no organisation")
        return get_response(request)

    return middleware


class Policy(AccessPolicy):
    """A policy that wants a second factor, or has a mistake."""

    def admits(self, request: HttpRequest) -> bool:
        if how(request) == "mistake":
            raise LookupError("no organisation")
        return how(request) != "second factor"
