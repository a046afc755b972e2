"""The search for numbers, customers and team members at Kapso, which the form's fields use."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from kapso_inbox import conf, lookups, refusals

from .policy import PolicyModelAdmin

#: Characters of a search that are looked at.
MAX_QUERY = 100


def lookup_view(model_admin: PolicyModelAdmin, request: HttpRequest) -> HttpResponse:
    """Answer a search in one of Kapso's lists with one page of choices, as JSON.

    The lists are those of a whole project, so the policy must hold nothing back from the user.

    Args:
        model_admin: whose page it is.
        request: its query has `kind`, `q`, `project`, `page`, and `refresh=1` to ask Kapso anew.
    """
    permitted = model_admin.get_permissions(request) & {"add", "change"}
    if not permitted or not model_admin.sees_everything(request):
        raise PermissionDenied
    query = request.GET
    try:
        kind = lookups.Kind(query.get("kind", ""))
        page = int(query.get("page", "1"))
        project = query.get("project") or conf.DEFAULT_PROJECT
        if page < 1 or page > lookups.LAST_PAGE or project not in conf.project_aliases():
            raise ValueError
    except ValueError:
        return JsonResponse({"error": _("There is no such list.")}, status=400)
    try:
        found = lookups.search(
            kind,
            query.get("q", "")[:MAX_QUERY],
            project=project,
            page=page,
            refresh=query.get("refresh") == "1",
        )
    except refusals.REFUSALS as error:
        return JsonResponse({"error": refusals.texts(error)}, status=503)
    return JsonResponse(
        {
            "choices": [
                {"id": choice.id, "name": choice.name, "detail": choice.detail}
                for choice in found.choices
            ],
            "next_page": found.next_page,
        }
    )
