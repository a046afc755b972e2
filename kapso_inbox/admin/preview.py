"""The preview: an embed as its readers see it, beside its panel."""

from __future__ import annotations

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from kapso_inbox.access import get_policy
from kapso_inbox.models import InboxEmbed

from .owners import why_only_the_owner
from .pages import panel_of, render_page
from .policy import PolicyModelAdmin


def preview_view(
    model_admin: PolicyModelAdmin, request: HttpRequest, object_id: str
) -> HttpResponse:
    """Show an embed as its readers see it.

    The preview is an ordinary launch: it requires the permission to open inboxes, and is recorded.

    Args:
        model_admin: whose page it is.
        request: the current request.
        object_id: the embed's primary key, quoted as Django's admin quotes it.
    """
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    found = model_admin.get_object(request, unquote(object_id))
    embed = found and model_admin.get_queryset(request).with_condition().filter(pk=found.pk).first()
    if embed is None:
        return model_admin.redirect_missing(request, object_id)
    this_one = InboxEmbed.objects.filter(pk=embed.pk)
    is_of_another = embed.personal_to not in ("", str(request.user.pk))
    return render_page(
        model_admin,
        request,
        "preview",
        title=_("Preview"),
        subtitle=str(embed),
        panel=panel_of(model_admin, request, embed, "preview"),
        original=embed,
        may_open=get_policy().openable(request.user, this_one).exists(),
        why_not=why_only_the_owner(embed) if is_of_another else "",
    )
