"""What a submitted form of an embed does: add or change it through the lifecycle.

Django's own views would do this inside a transaction, where Kapso must not be called. So our
ModelAdmin calls these functions first, and Django's views only show pages.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from kapso_inbox import access, audit, lifecycle, refusals
from kapso_inbox.clock import lately
from kapso_inbox.kapso import InboxOriginError, KapsoError, UncertainError
from kapso_inbox.lifecycle import links, values
from kapso_inbox.models import InboxChange, InboxEmbed
from kapso_inbox.transactions import database

from .forms import DAYS, AddEmbedForm, ChangeEmbedForm, warning_of_new_slug
from .mentions import link_health_page
from .pages import redirect_to_embed
from .policy import PolicyModelAdmin
from .verbs import VERBS
from .widgets import origin_warnings

logger = logging.getLogger(__name__)

#: How long after a form was submitted the same form counts as a second press of its button.
SECOND_PRESS = timedelta(minutes=2)


def submit_form(
    model_admin: PolicyModelAdmin, request: HttpRequest, object_id: str | None
) -> HttpResponse | None:
    """Add or change an embed as the submitted form says.

    Args:
        model_admin: whose form it is.
        request: the POST request.
        object_id: the primary key of the embed to change, quoted as Django's admin quotes it; None
            = a new one.

    Returns:
        The response; or None if nothing was done. Then Django must refuse the request, or show the
        form again with its errors and the one that `refusal_of` returns.
    """
    embed = None if object_id is None else model_admin.get_object(request, unquote(object_id))
    if object_id is None:
        allowed = model_admin.has_add_permission(request)
    else:
        allowed = embed is not None and model_admin.has_change_permission(request, embed)
    if not allowed:
        return None
    fields = flatten_fieldsets(model_admin.get_fieldsets(request, embed))
    form_class = model_admin.get_form(request, embed, change=embed is not None, fields=fields)
    form: Any = form_class(request.POST, instance=embed)
    if not form.is_valid():
        return None
    try:
        if embed is None:
            return _add(model_admin, request, form)
        return _change(model_admin, request, embed, form)
    except DatabaseError as error:
        logger.exception("The database failed while an embed was saved.")
        _refuse(model_admin, request, refusals.explain(error))
    except refusals.REFUSALS as error:
        # A 404 to a change is about the link. Only to an addition can it be about the scope.
        wanted = form.instance if embed is None else None
        names_others = model_admin.sees_everything(request)
        refusal = refusals.explain(error, wanted, names_others=names_others)
        _refuse(model_admin, request, refusal)
    return None


def refusal_of(request: HttpRequest) -> ValidationError | None:
    """Return why the form that this request submitted was refused, if it was."""
    return getattr(request, "_kapso_inbox_refusal", None)


def _refuse(model_admin: PolicyModelAdmin, request: HttpRequest, refusal: ValidationError) -> None:
    linked = {
        field: [link_health_page(model_admin, request, text) for text in texts]
        for field, texts in refusal.message_dict.items()
    }
    request._kapso_inbox_refusal = ValidationError(linked)  # type: ignore[attr-defined]


def _add(model_admin: PolicyModelAdmin, request: HttpRequest, form: AddEmbedForm) -> HttpResponse:
    wanted = form.cleaned_settings()
    try:
        if not access.may_take(request.user, wanted["slug"]):
            raise values.slug_taken()
        embed = lifecycle.create_embed(**wanted, actor=audit.actor_of(request))
    except ValidationError as error:
        twin = _made_just_now(request, form)
        if twin is None:
            raise error from None
        # The first press may still wait for Kapso, or may never hear from it.
        links.refuse_if_being_made(twin)
        twin = links.embeds().get(pk=twin.pk)
        if twin.current_link_id is None:
            return _report_uncertain(model_admin, request, twin, UncertainError())
        return model_admin.response_add(request, twin)
    except (UncertainError, DatabaseError) as error:
        # The database may have failed before anything was stored, and may still be failing.
        begun = links.embeds().filter(slug=wanted["slug"], current_link=None).first()
        if begun is None:
            raise error from None
        _log_addition(model_admin, request, begun, form)
        return _report_uncertain(model_admin, request, begun, error)
    except KapsoError as error:
        form.instance.project = wanted["project"]
        raise error from None
    _log_addition(model_admin, request, embed, form)
    _warn_of_origins(model_admin, request, embed)
    return model_admin.response_add(request, embed)


def _change(
    model_admin: PolicyModelAdmin, request: HttpRequest, embed: InboxEmbed, form: ChangeEmbedForm
) -> HttpResponse:
    # The form has put what was typed into the embed.
    old_slug = form.initial.get("slug", embed.slug)
    embed = lifecycle.update_embed(embed, actor=audit.actor_of(request), **form.changes())
    if embed.slug != old_slug and not embed.personal_to:
        model_admin.message_user(request, warning_of_new_slug(old_slug), messages.WARNING)
    if form.has_changed():
        message = model_admin.construct_change_message(request, form, [], False)
        model_admin.log_change(request, embed, message)
    _warn_of_origins(model_admin, request, embed)
    return model_admin.response_change(request, embed)


def _log_addition(
    model_admin: PolicyModelAdmin, request: HttpRequest, embed: InboxEmbed, form: AddEmbedForm
) -> None:
    message = model_admin.construct_change_message(request, form, [], True)
    model_admin.log_addition(request, embed, message)


def _made_just_now(request: HttpRequest, form: AddEmbedForm) -> InboxEmbed | None:
    """Return the embed that this same form has already created, if its button was pressed twice."""
    wanted = form.cleaned_settings()
    twin = links.embeds().filter(slug=wanted["slug"]).first()
    if twin is None:
        return None
    groups, expires_at = set(wanted.pop("groups")), wanted["expires_at"]
    if form.cleaned_data["expiry"] in map(str, DAYS):
        # The same number of days from now ends some seconds later at the second press.
        if twin.expires_at is None or abs(twin.expires_at - expires_at) > SECOND_PRESS:
            return None
        del wanted["expires_at"]
    if not wanted["language"]:
        del wanted["language"]  # The choice was left to Kapso, and Kapso has chosen.
    cleaned = values.clean_settings(wanted)
    if any(getattr(twin, name) != value for name, value in cleaned.items()):
        return None
    if groups != set(twin.groups.using(database())):
        return None
    action = InboxChange.Action
    made = InboxChange.objects.for_write().filter(
        action__in=[action.CREATED, action.CREATION_REFUSED],
        embed_id=twin.pk,
        **audit.who(audit.actor_of(request)),
        created_at__range=lately(SECOND_PRESS),
    )
    return twin if made.exists() else None


def _report_uncertain(
    model_admin: PolicyModelAdmin,
    request: HttpRequest,
    embed: InboxEmbed,
    error: UncertainError | DatabaseError,
) -> HttpResponse:
    """Say that the embed has no link yet, and why, and go to the embed's page if it may be seen."""
    if not model_admin.has_view_permission(request, embed):
        text = _(
            "Do not add “%(name)s” again: ask somebody who may change inboxes to find out "
            "what became of it."
        )
    elif isinstance(error, InboxOriginError):
        text = _("Do not add the inbox again: press “%(rotate)s” here.")
    else:
        text = _(
            "Do not add it again: press “%(resolve)s” here in a few minutes, then rotate the link."
        )
    names = {"resolve": VERBS["resolve"].label, "rotate": VERBS["rotate"].label}
    text %= {**names, "name": embed.name}
    model_admin.message_user(request, f"{refusals.texts(error)} {text}", messages.WARNING)
    return redirect_to_embed(model_admin, request, embed, "change")


def _warn_of_origins(
    model_admin: PolicyModelAdmin, request: HttpRequest, embed: InboxEmbed
) -> None:
    warnings = origin_warnings()
    if not embed.allowed_origins:
        model_admin.message_user(request, warnings["none"], messages.WARNING)
    elif "*" in embed.allowed_origins:
        model_admin.message_user(request, warnings["any"], messages.WARNING)
