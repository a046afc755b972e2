"""The pages of a verb: its confirmation, and then what became of each embed.

What was done is answered with a redirect, so that no reload does it again: for one embed to its
page, with a message; for several to a page of results.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminToField
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from kapso_inbox import audit
from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet

from . import results
from .mentions import link_health_page
from .pages import page_url, redirect_to_embed, redirect_to_list, render_page, verb_url
from .policy import PolicyModelAdmin
from .results import Results, Row
from .targets import Target, is_id
from .verb import Result, Verb
from .verbs import VERBS, carry_out, why_not

#: How many embeds a verb is applied to in one request: each takes one or more requests to Kapso.
MAX_EMBEDS = 100
#: Seconds after which no further embed is begun; a button continues with the rest. Web servers end
#: a request after 30 by default (gunicorn).
TIME_LIMIT = 20

#: The level of the message about one embed, by the outcome.
LEVELS = {"done": messages.SUCCESS, "nothing": messages.WARNING, "failed": messages.ERROR}


def verb_view(model_admin: PolicyModelAdmin, request: HttpRequest, name: str) -> HttpResponse:
    """Ask for a confirmation; once it is given, apply the verb and redirect to what became of it.

    Going back and sending the form again is harmless: each embed is sent with the newest link that
    the administrator saw, and a newer one stops the verb.

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
    to_field = request.POST.get(TO_FIELD_VAR) or request.GET.get(TO_FIELD_VAR)
    if to_field and not model_admin.to_field_allowed(request, to_field):
        raise DisallowedModelAdminToField(f"The field {to_field} cannot be referenced.")
    embeds = model_admin.get_queryset(request).with_condition()
    if request.method != "POST" or "confirmed" not in request.POST:
        chosen = request.GET.getlist("id")
        found = embeds.filter(pk__in=[int(one) for one in chosen if is_id(one)])
        if not found.exists():
            return _none_found(model_admin, request, chosen)
        return confirm_view(model_admin, request, verb, found)
    try:
        parsed = [Target.parse(text) for text in request.POST.getlist("target")[:MAX_EMBEDS]]
    except ValueError:
        raise Http404 from None
    targets = {one.embed_id: one for one in parsed}
    left_out = {int(one) for one in request.POST.getlist("left_out")[:MAX_EMBEDS] if is_id(one)}
    left_out -= targets.keys()
    ids = targets.keys() | left_out
    by_id = {embed.pk: embed for embed in embeds.filter(pk__in=ids)}
    if not by_id:
        return _none_found(model_admin, request, [str(pk) for pk in ids])
    form = verb.form(request.POST) if verb.form is not None else None
    if form is not None and not form.is_valid():
        return confirm_view(model_admin, request, verb, embeds.filter(pk__in=by_id), form)
    values = form.cleaned_data if form is not None else {}
    in_bulk = len(ids) > 1
    told, rest = _apply(
        model_admin, request, verb, targets.values(), by_id, values, in_bulk=in_bulk
    )
    told += [
        (by_id[pk], Result("nothing", why_not(verb, by_id[pk], in_bulk=in_bulk) or _left_out()))
        for pk in sorted(by_id.keys() & left_out)
    ]
    if not in_bulk:
        return _tell_of_one(model_admin, request, verb, *told[0])
    fields = tuple(form.fields) if form is not None else ()
    kept: Results = {
        "key": results.new_key(),
        "verb": verb.name,
        "rows": _rows(told),
        "rest": [str(target) for target in rest],
        "typed": {k: str(v) for k, v in request.POST.items() if fields and k.startswith(fields)},
    }
    results.keep(request, kept)
    return HttpResponseRedirect(page_url(model_admin, "results", kept["key"], request=request))


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
        return redirect_to_list(model_admin, request)
    manageable = _manageable_ids(model_admin, request, verb, chosen)
    rows = [
        {
            "embed": embed,
            "url": page_url(model_admin, "change", embed.pk, request=request),
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
    possible = sum(not row["obstacle"] for row in rows)
    if form is None and verb.form is not None:
        form = verb.form(initial={"expiry": "30"})
    instead = verb.instead(chosen[0]) if len(chosen) == possible == 1 else None
    return render_page(
        model_admin,
        request,
        "confirm",
        title=verb.label,
        verb=verb,
        rows=rows,
        possible=possible,
        form=form,
        media=model_admin.media + form.media if form is not None else model_admin.media,
        # With the IDs, so that this address shows the confirmation again by GET, too.
        action_url=verb_url(
            model_admin, request, verb.name, [embed.pk for embed in chosen], _origin(request)
        ),
        back_url=_back_url(model_admin, request, chosen),
        button=verb.button(chosen[0]) if len(chosen) == 1 else verb.label,
        instead=instead,
        instead_url=verb_url(model_admin, request, instead.verb, [chosen[0].pk]) if instead else "",
        is_popup=IS_POPUP_VAR in request.GET,
        to_field=request.GET.get(TO_FIELD_VAR, ""),
    )


def results_view(model_admin: PolicyModelAdmin, request: HttpRequest, key: str) -> HttpResponse:
    """Show what became of several embeds; by POST, continue with those that are left.

    Args:
        model_admin: whose page it is.
        request: the current request.
        key: the key of the results.
    """
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    kept = results.find(request, key)
    if kept is None:
        text = _("These results are no longer kept. The history of each inbox shows what was done.")
        model_admin.message_user(request, text, messages.WARNING)
        return redirect_to_list(model_admin, request)
    verb, resolve = VERBS[kept["verb"]], VERBS["resolve"]
    if request.method == "POST":
        return _continue(model_admin, request, verb, kept)
    ids = [row["id"] for row in kept["rows"]]
    visible = list(model_admin.get_queryset(request).filter(pk__in=ids).with_condition())
    urls = {one.pk: page_url(model_admin, "change", one.pk, request=request) for one in visible}
    uncertain = _uncertain_ids(model_admin, request, kept, visible)
    left = len(kept["rest"])
    return render_page(
        model_admin,
        request,
        "results",
        title=verb.label,
        verb=verb,
        results=[
            {
                **row,
                "text": link_health_page(model_admin, request, row["text"]),
                "url": urls.get(row["id"], ""),
                # Some texts name that button themselves.
                "is_uncertain": row["id"] in uncertain and str(resolve.label) not in row["text"],
            }
            for row in kept["rows"]
        ],
        resolve=resolve,
        resolve_url=(
            verb_url(model_admin, request, resolve.name, sorted(uncertain), "list")
            if uncertain
            else ""
        ),
        rest=left,
        rest_text=ngettext(
            "Continue with the remaining one", "Continue with the remaining %(count)d", left
        )
        % {"count": left},
        action_url=page_url(model_admin, "results", key, request=request),
    )


def _uncertain_ids(
    model_admin: PolicyModelAdmin, request: HttpRequest, kept: Results, embeds: list[InboxEmbed]
) -> set[int]:
    """Return which embeds of the results are still uncertain, and may be resolved by the user.

    Args:
        model_admin: whose page it is.
        request: the current request.
        kept: the results.
        embeds: their embeds, read with their conditions.
    """
    resolve = VERBS["resolve"]
    failed = {row["id"] for row in kept["rows"] if row["outcome"] == "failed"}
    uncertain = [one for one in embeds if one.pk in failed and not why_not(resolve, one)]
    return _manageable_ids(model_admin, request, resolve, uncertain)


def _continue(
    model_admin: PolicyModelAdmin, request: HttpRequest, verb: Verb, kept: Results
) -> HttpResponse:
    """Apply the verb to the embeds that are left, and add what became of them to the results."""
    if verb.permission not in model_admin.get_permissions(request):
        raise PermissionDenied
    targets = [Target.parse(text) for text in kept["rest"]]
    ids = [target.embed_id for target in targets]
    form = verb.form(kept["typed"]) if verb.form is not None else None
    if form is not None and not form.is_valid():
        # What was typed is not valid any more: its time has passed.
        return HttpResponseRedirect(verb_url(model_admin, request, verb.name, ids, "list"))
    values = form.cleaned_data if form is not None else {}
    embeds = model_admin.get_queryset(request).with_condition().filter(pk__in=ids)
    by_id = {embed.pk: embed for embed in embeds}
    told, rest = _apply(model_admin, request, verb, targets, by_id, values, in_bulk=True)
    rows, left = [*kept["rows"], *_rows(told)], [str(target) for target in rest]
    results.keep(request, {**kept, "rows": rows, "rest": left})
    return HttpResponseRedirect(page_url(model_admin, "results", kept["key"], request=request))


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
    told: list[tuple[InboxEmbed, Result]] = []
    rest: list[Target] = []
    manageable = _manageable_ids(model_admin, request, verb, embeds.values())
    until = time.monotonic() + TIME_LIMIT
    for target in targets:
        embed = embeds.get(target.embed_id)
        if embed is None:
            continue  # It was deleted, or the user may not see it.
        if in_bulk and time.monotonic() > until:
            rest.append(target)
            continue
        if embed.pk not in manageable:
            told.append((embed, Result("nothing", _view_only())))
            continue
        result = carry_out(verb, embed, target, audit.actor_of(request), values, in_bulk=in_bulk)
        told.append((embed, result))
        if result.outcome == "done" and verb.name == "delete":
            model_admin.log_deletions(request, [embed])  # type: ignore[arg-type]
        elif result.changed:
            model_admin.log_change(request, embed, _for_history(result.changed))
    return told, rest


def _for_history(fields: Iterable[str]) -> list[dict[str, Any]]:
    """Return a change of an embed's fields as Django stores it, and tells it to each reader.

    Args:
        fields: the names of the fields.
    """
    with override(None):
        names = [str(InboxEmbed._meta.get_field(name).verbose_name) for name in fields]  # type: ignore[union-attr]
    return [{"changed": {"fields": names}}]


def _tell_of_one(
    model_admin: PolicyModelAdmin,
    request: HttpRequest,
    verb: Verb,
    embed: InboxEmbed,
    result: Result,
) -> HttpResponse:
    """Redirect to the page of the embed with a message; after a deletion, answer as Django does."""
    if verb.name == "delete" and result.outcome == "done":
        key = embed.serializable_value(request.POST.get(TO_FIELD_VAR) or "pk")
        return model_admin.response_delete(request, str(embed), key)
    text = _("“%(name)s”: %(text)s") % {"name": embed.name, "text": result.text}
    text = link_health_page(model_admin, request, text)
    model_admin.message_user(request, text, LEVELS[result.outcome])
    page = "preview" if _origin(request) == "preview" else "change"
    return redirect_to_embed(model_admin, request, embed, page)


def _none_found(
    model_admin: PolicyModelAdmin, request: HttpRequest, ids: Collection[str]
) -> HttpResponse:
    """Say that none of the chosen embeds exists, of one as Django does, or that none is chosen."""
    if len(ids) == 1:
        return model_admin.redirect_missing(request, next(iter(ids)))
    text = _("None of them exists any more.") if ids else _("Choose inboxes from the list first.")
    model_admin.message_user(request, text, messages.WARNING)
    return redirect_to_list(model_admin, request)


def _back_url(model_admin: PolicyModelAdmin, request: HttpRequest, embeds: list[InboxEmbed]) -> str:
    """Return the address of the page that led to the confirmation."""
    origin = _origin(request)
    if origin == "list" or len(embeds) != 1:
        return page_url(model_admin, "changelist", request=request)
    if origin == "health":
        return page_url(model_admin, "health")
    page = "preview" if origin == "preview" else "change"
    return page_url(model_admin, page, embeds[0].pk, request=request)


def _origin(request: HttpRequest) -> str:
    """Return the page that led to the confirmation, as for `verb_url`."""
    origin = request.GET.get("from", "")
    return origin if origin in ("list", "health", "preview") else ""


def _rows(told: Iterable[tuple[InboxEmbed, Result]]) -> list[Row]:
    return [
        {
            "id": embed.pk,
            "name": embed.name,
            "slug": embed.slug,
            "outcome": result.outcome,
            "text": result.text,
        }
        for embed, result in told
    ]


def _manageable_ids(
    model_admin: PolicyModelAdmin, request: HttpRequest, verb: Verb, embeds: Iterable[InboxEmbed]
) -> set[int]:
    """Return the primary keys of the embeds to which the user may apply the verb."""
    ids = [embed.pk for embed in embeds]
    return _ids_of(model_admin.get_manageable(request, verb.permission).filter(pk__in=ids))


def _ids_of(embeds: InboxEmbedQuerySet) -> set[int]:
    return set(embeds.order_by().values_list("pk", flat=True))


def _left_out() -> str:
    return _("It was left out.")


def _view_only() -> str:
    return _("You may view it, but not change it.")
