"""The button that looks for inboxes at Kapso, and what it tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import audit, conf, refusals
from kapso_inbox.models import Condition

from .mentions import link_embeds, link_health_page
from .pages import page_url
from .policy import PolicyModelAdmin

if TYPE_CHECKING:
    from kapso_inbox.sync import Note, SyncReport

#: The name of its address.
SYNC = "sync"


def may_look(model_admin: PolicyModelAdmin, request: HttpRequest) -> bool:
    """Return whether the user may do what concerns whole projects: look for inboxes at Kapso."""
    return model_admin.has_change_permission(request) and model_admin.sees_everything(request)


def sync_view(model_admin: PolicyModelAdmin, request: HttpRequest) -> HttpResponse:
    """Look for inboxes at Kapso: compare whole projects with what is stored, as `kapso_sync` does.

    The POST names the `project`, or means all of them, and says which page to go `back` to.
    """
    if request.method != "POST":
        # Somebody had to sign in after they pressed the button.
        return HttpResponseRedirect(page_url(model_admin, "health"))
    known, alias = conf.project_aliases(), request.POST.get("project", "")
    if alias and alias not in known:
        raise Http404
    if not may_look(model_admin, request):
        raise PermissionDenied
    # Without any project, the error says which setting is missing.
    aliases = [alias] if alias else known or [conf.DEFAULT_PROJECT]
    # Not at start-up: a millisecond of every process, for a button that is rarely pressed.
    from kapso_inbox.sync import sync_project

    reports = []
    for one in aliases:
        about = "" if len(aliases) == 1 else f"{one}: "
        try:
            report = sync_project(one, patience=0, actor=audit.actor_of(request))
        except refusals.REFUSALS as error:
            model_admin.message_user(request, about + refusals.texts(error), messages.ERROR)
            continue
        reports.append(report)
        _tell(model_admin, request, about, report.problems, messages.WARNING)
        _tell(model_admin, request, about, report.left_undone, messages.INFO)
    found = sum(report.unmanaged for report in reports)
    if found:
        model_admin.message_user(request, _what_was_found(model_admin, found), messages.SUCCESS)
    elif any(report.complete for report in reports):
        text = _("Found no inbox at Kapso that is not listed here.")
        if conf.shares_projects():
            text += " " + _("Inboxes of other sites that share the project are left out.")
        model_admin.message_user(request, text, messages.SUCCESS)
    if done := _what_else_was_done(reports):
        model_admin.message_user(request, done, messages.SUCCESS)
    back = "changelist" if request.POST.get("back") == "changelist" else "health"
    return HttpResponseRedirect(page_url(model_admin, back, request=request))


def _tell(
    model_admin: PolicyModelAdmin,
    request: HttpRequest,
    about: str,
    notes: Iterable[Note],
    level: int,
) -> None:
    """Show what a sync tells, each cause once, with all that came of it.

    Args:
        model_admin: whose page it is.
        request: the current request.
        about: what each message begins with.
        notes: what the sync tells.
        level: the level of the messages.
    """
    by_cause: dict[str, list[Note]] = {}
    for note in notes:
        # Without a cause, it is about itself alone.
        by_cause.setdefault(note.why or note.what, []).append(note)
    for alike in by_cause.values():
        slugs = [note.values["embed"] for note in alike if "embed" in note.values]
        embeds = model_admin.get_queryset(request).filter(slug__in=slugs)
        what = link_embeds(model_admin, about + " ".join(note.what for note in alike), *embeds)
        why = link_health_page(model_admin, request, alike[0].why)
        model_admin.message_user(request, format_html("{} {}", what, why) if why else what, level)


def _what_else_was_done(reports: Iterable[SyncReport]) -> str:
    """Return in words what the syncs did besides finding inboxes; "" if that is nothing."""
    told = {
        "updated": _("inboxes updated: %(count)d"),
        "settled": _("uncertain links settled: %(count)d"),
        "ended": _("links found revoked or gone: %(count)d"),
        "revoked": _("links revoked at Kapso: %(count)d"),
        "renewed": _("links renewed: %(count)d"),
    }
    counts = {name: sum(getattr(report, name) for report in reports) for name in told}
    parts = [told[name] % {"count": count} for name, count in counts.items() if count]
    return _("This was also done: %(done)s.") % {"done": "; ".join(parts)} if parts else ""


def _what_was_found(model_admin: PolicyModelAdmin, count: int) -> str:
    """Return how many inboxes were found at Kapso, and what to do with them."""
    found = ngettext(
        "Found %(count)d inbox at Kapso that was not known here.",
        "Found %(count)d inboxes at Kapso that were not known here.",
        count,
    )
    what_to_do = ngettext(
        "Its state is {state}. Adopt it to use it here, or leave it alone.",
        "Their state is {state}. Adopt those that you want to use here, and leave the others "
        "alone.",
        count,
    )
    label = Condition.UNMANAGED.label
    address = f"{page_url(model_admin, 'changelist')}?{urlencode({'state': Condition.UNMANAGED})}"
    state = format_html('“<a href="{}">{}</a>”', address, label)
    return format_html("{} {}", found % {"count": count}, format_html(what_to_do, state=state))
