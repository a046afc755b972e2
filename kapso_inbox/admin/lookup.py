"""The search for numbers, customers and team members at Kapso, which the form's fields use."""

from __future__ import annotations

from contextlib import suppress

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from kapso_inbox import conf, lookups, refusals
from kapso_inbox.models import InboxEmbed, ScopeType

from .policy import PolicyModelAdmin

#: Characters of a search that are looked at.
MAX_QUERY = 100


#: The fewest digits that are taken for a part of a phone number.
MIN_DIGITS = 4
#: The seconds that the list of embeds waits for Kapso's list of numbers.
NUMBERS_WITHIN = 3


def or_of_number(
    found: QuerySet[InboxEmbed], text: str, embeds: QuerySet[InboxEmbed]
) -> QuerySet[InboxEmbed]:
    """Add the embeds of a phone number to those that a search of the list has found.

    An embed holds the ID and the name of its number, but not the number. Kapso is asked for it,
    unless its list is still kept, and only if the text can be a number.

    Args:
        found: the embeds that the search has found.
        text: what was typed.
        embeds: all embeds that are searched.

    Returns:
        The embeds; those in `found` where Kapso cannot be asked.
    """
    if len(lookups.number_in(text)) < MIN_DIGITS:
        return found
    ids: list[str] = []
    for project in conf.project_aliases():
        with suppress(*refusals.REFUSALS):
            numbers = lookups.search(
                lookups.Kind.PHONE_NUMBER,
                text[:MAX_QUERY],
                project=project,
                deadline=NUMBERS_WITHIN,
            )
            ids += [choice.id for choice in numbers.choices]
    if not ids:
        return found
    is_of_number = Q(scope_type=ScopeType.PHONE_NUMBER, scope_id__in=ids)
    return embeds.filter(Q(pk__in=found.values("pk")) | is_of_number)


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
