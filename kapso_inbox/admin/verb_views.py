"""The pages of a verb: its confirmation, and then what became of each embed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import audit
from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet

from .pages import page_url, render_page
from .policy import PolicyModelAdmin
from .targets import Target, is_id
from .verbs import VERBS, Result, Verb, carry_out, why_not

#: How many embeds a verb is applied to in one request: each takes one or more requests to Kapso.
MAX_EMBEDS = 100
#: Seconds after which no further embed is begun; a button continues with the rest. Web servers end
#: a request after 30 by default (gunicorn).
TIME_LIMIT = 20


def confirm_view(
    model_admin: PolicyModelAdmin,
    request: HttpRequest,
    verb: Verb,
    embeds: InboxEmbedQuerySet,
    form: Form | None = None,
) -> HttpResponse:
    """Show what a verb will do to each embed, and ask for a confirmation.

    Args:
        model_admin: whose page it is.
        request: the current request.
        verb: the verb.
        embeds: the embeds that were chosen.
        form: the verb's form if it was filled in wrongly; None = a new one.
    """
    chosen = list(embeds.with_condition().with_newest_link()[: MAX_EMBEDS + 1])
    if len(chosen) > MAX_EMBEDS:
        text = _("Choose at most %(most)d at a time, because each needs requests to Kapso.")
        model_admin.message_user(request, text % {"most": MAX_EMBEDS}, messages.ERROR)
        return HttpResponseRedirect(page_url(model_admin, "changelist"))
    manageable = _manageable_ids(model_admin, request, verb, chosen)
    rows = [
        {
            "embed": embed,
            "state": model_admin.state(embed),
            "obstacle": (
                why_not(verb, embed, in_bulk=len(chosen) > 1)
                if embed.pk in manageable
                else _view_only()
            ),
            "note": verb.note(embed),
            "target": Target.of(embed, embed.newest_link_id),  # type: ignore[attr-defined]
        }
        for embed in chosen
    ]
    if form is None and verb.form is not None:
        form = verb.form(initial={"expiry": "30"})
    return render_page(
        model_admin,
        request,
        "confirm",
        title=verb.label,
        verb=verb,
        rows=rows,
        possible=sum(not row["obstacle"] for row in rows),
        form=form,
        media=model_admin.media + form.media if form is not None else model_admin.media,
        action_url=page_url(model_admin, "verb", verb.name),
    )


def verb_view(model_admin: PolicyModelAdmin, request: HttpRequest, name: str) -> HttpResponse:
    """Ask for a confirmation; once it is given, apply the verb and show what became of each embed.

    The results are in the response itself. Loading it again is harmless: each embed is sent with
    the newest link that the administrator saw, and a newer one stops the verb.

    Args:
        model_admin: whose page it is.
        request: the current request.
        name: the verb's name.
    """
    verb = VERBS.get(name)
    if verb is None:
        raise Http404
    if verb.permission not in model_admin.get_permissions(request):
        raise PermissionDenied
    embeds = model_admin.get_queryset(request).with_condition()
    if request.method != "POST" or "confirmed" not in request.POST:
        chosen = request.GET.getlist("id") or request.POST.getlist(ACTION_CHECKBOX_NAME)
        found = embeds.filter(pk__in=[int(one) for one in chosen if is_id(one)])
        if not found.exists():
            raise Http404
        return confirm_view(model_admin, request, verb, found)
    try:
        targets = [Target.parse(text) for text in request.POST.getlist("target")[:MAX_EMBEDS]]
    except ValueError:
        raise Http404 from None
    chosen_ids = {one.embed_id for one in targets}
    left_out = {int(one) for one in request.POST.getlist("left_out")[:MAX_EMBEDS] if is_id(one)}
    left_out -= chosen_ids
    by_id = {embed.pk: embed for embed in embeds.filter(pk__in=chosen_ids | left_out)}
    form = verb.form(request.POST) if verb.form is not None else None
    if form is not None and not form.is_valid():
        return confirm_view(model_admin, request, verb, embeds.filter(pk__in=by_id), form)
    values = form.cleaned_data if form is not None else {}
    in_bulk = len(chosen_ids | left_out) > 1
    results, rest = _apply(model_admin, request, verb, targets, by_id, values, in_bulk=in_bulk)
    results += [
        (by_id[pk], Result("nothing", why_not(verb, by_id[pk], in_bulk=in_bulk) or _left_out()))
        for pk in sorted(by_id.keys() & left_out)
    ]
    return render_page(
        model_admin,
        request,
        "results",
        title=verb.label,
        verb=verb,
        results=results,
        rest=rest,
        rest_text=ngettext(
            "Continue with the remaining one",
            "Continue with the remaining %(count)d",
            len(rest),
        )
        % {"count": len(rest)},
        form=form,
        action_url=page_url(model_admin, "verb", verb.name),
    )


def _apply(
    model_admin: PolicyModelAdmin,
    request: HttpRequest,
    verb: Verb,
    targets: Iterable[Target],
    embeds: dict[int, InboxEmbed],
    values: dict[str, Any],
    *,
    in_bulk: bool,
) -> tuple[list[tuple[InboxEmbed, Result]], list[Target]]:
    """Apply a verb to one embed after another for as long as there is time.

    Returns:
        The embeds with their results, and the targets for which no time was left.
    """
    results: list[tuple[InboxEmbed, Result]] = []
    rest: list[Target] = []
    manageable = _manageable_ids(model_admin, request, verb, embeds.values())
    until = time.monotonic() + TIME_LIMIT
    for target in targets:
        embed = embeds.get(target.embed_id)
        if embed is None:
            continue  # It was deleted, or the user may not see it.
        if time.monotonic() > until:
            rest.append(target)
            continue
        if embed.pk not in manageable:
            results.append((embed, Result("nothing", _view_only())))
            continue
        result = carry_out(verb, embed, target, audit.actor_of(request), values, in_bulk=in_bulk)
        results.append((embed, result))
        if result.outcome == "done" and verb.name == "delete":
            model_admin.log_deletions(request, [embed])  # type: ignore[arg-type]
        elif result.outcome == "done":
            model_admin.log_change(request, embed, f"{verb.label}: {result.text}")
    return results, rest


def _manageable_ids(
    model_admin: PolicyModelAdmin, request: HttpRequest, verb: Verb, embeds: Iterable[InboxEmbed]
) -> set[int]:
    """Return the primary keys of the embeds to which the user may apply the verb."""
    ids = [embed.pk for embed in embeds]
    manageable = model_admin.get_manageable(request, verb.permission).filter(pk__in=ids)
    return set(manageable.values_list("pk", flat=True))


def _left_out() -> str:
    return _("It was left out.")


def _view_only() -> str:
    return _("You may view it, but not change it.")
