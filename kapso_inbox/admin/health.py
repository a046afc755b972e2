"""The health page: the findings of `kapso_doctor`, each with the buttons that fix it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf, refusals
from kapso_inbox.failures import REMEMBERED_FOR
from kapso_inbox.models import InboxEmbed

from .pages import page_url, render_page
from .policy import PolicyModelAdmin
from .verbs import VERBS, why_not

if TYPE_CHECKING:
    from kapso_inbox.diagnosis import Finding


#: Buttons that are not verbs: to the embed's form, to the form of a new embed, to a sync.
CHANGE, ADD, SYNC = "change", "add", "sync"

#: The buttons that fix a finding, by its code. What is fixed in the settings or at Kapso has none.
FIXES: Mapping[str, tuple[str, ...]] = {
    "embed-different": ("rotate",),
    "embed-not-narrowed": ("revoke",),
    "embed-revoked": ("rotate", "delete"),
    "embed-without-link": ("rotate",),
    "encryption-key-missing": ("rotate",),
    "secret-lost": ("rotate",),
    "secret-unreadable": ("rotate",),
    "link-expired": ("extend",),
    "link-expires-soon": ("extend",),
    "link-revoked-at-kapso": ("refresh",),
    "link-unknown": ("resolve",),
    "creation-stuck": ("resolve",),
    # Not "revoke", which ends every link: the embed may have one that works beside this one.
    "revocation-stuck": ("resolve",),
    "revocation-unconfirmed": ("resolve",),
    "link-unmanaged": ("adopt", "revoke"),
    "origins-any": (CHANGE,),
    "origins-local": (CHANGE,),
    "origins-miss-site": (CHANGE,),
    "origins-none": (CHANGE,),
    "no-embeds": (ADD,),
    "sync-not-running": (SYNC,),
}

#: The levels of findings, in the order of the page.
LEVELS = ("error", "warning", "info")


class Button(NamedTuple):
    """A button beside a finding.

    Attributes:
        verb: a key of `VERBS`, or `CHANGE`, `ADD` or `SYNC`.
        label: its text.
        permission: the permission for embeds that it requires: `add`, `change` or `delete`.
    """

    verb: str
    label: str
    permission: str


def buttons(finding: Finding, embed: InboxEmbed | None) -> Iterator[Button]:
    """Yield the buttons that can fix a finding now.

    Args:
        finding: the finding.
        embed: the embed that the finding is about, read with its condition; None = about no embed.
    """
    for name in FIXES.get(finding.code, ()):
        if name in (ADD, CHANGE) and conf.is_read_only():
            continue
        if embed is None:
            if name == ADD:
                yield Button(name, _("Add an inbox"), "add")
            elif name == SYNC:
                yield Button(name, _("Compare with Kapso now"), "change")
        elif name == CHANGE:
            yield Button(name, _("Change its origins"), "change")
        elif name in VERBS and not why_not(VERBS[name], embed):
            yield Button(name, str(VERBS[name].label), VERBS[name].permission)


def health_view(model_admin: PolicyModelAdmin, request: HttpRequest) -> HttpResponse:
    """Show what is wrong, and what to press."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    findings = _findings(model_admin, request)
    embeds = {
        embed.slug: embed
        for embed in model_admin.get_queryset(request)
        .with_condition()
        .filter(slug__in={finding.embed for finding in findings if finding.embed})
    }
    permissions = model_admin.get_permissions(request)
    rows: list[tuple[Finding, list[dict[str, str]]]] = []
    for finding in findings:
        embed = embeds.get(finding.embed)
        if embed is None and finding.embed:
            continue  # It was deleted in the meantime.
        allowed = [one for one in buttons(finding, embed) if one.permission in permissions]
        rows.append(
            (
                finding,
                [
                    {
                        "label": button.label,
                        "url": _button_url(model_admin, button.verb, embed),
                        "verb": button.verb,
                    }
                    for button in allowed
                ],
            )
        )
    rows.sort(key=lambda row: LEVELS.index(row[0].level))
    wrong = [row for row in rows if row[0].level != "info"]
    fine = [row for row in rows if row[0].level == "info"]
    return render_page(model_admin, request, "health", title=_("Health"), wrong=wrong, fine=fine)


def sync_view(model_admin: PolicyModelAdmin, request: HttpRequest) -> HttpResponse:
    """Compare a whole Kapso project with what is stored, as `kapso_sync` does."""
    alias = request.POST.get("project", "")
    if request.method != "POST" or alias not in conf.project_aliases():
        raise Http404
    if not model_admin.has_change_permission(request) or not model_admin.sees_everything(request):
        raise PermissionDenied
    back = HttpResponseRedirect(page_url(model_admin, "health"))
    try:
        # Not at start-up: a millisecond of every process, for a button that is rarely pressed.
        from kapso_inbox.sync import sync_project

        report = sync_project(alias, patience=0)
    except refusals.REFUSALS as error:
        model_admin.message_user(request, refusals.texts(error), messages.ERROR)
        return back
    for problem in report.problems:
        model_admin.message_user(request, problem, messages.WARNING)
    for text in report.left_undone:
        model_admin.message_user(request, text, messages.INFO)
    if report.complete:
        text = ngettext(
            "Compared with Kapso: %(count)d inbox in its list.",
            "Compared with Kapso: %(count)d inboxes in its list.",
            report.listed,
        )
        model_admin.message_user(request, text % {"count": report.listed}, messages.SUCCESS)
    return back


def _findings(model_admin: PolicyModelAdmin, request: HttpRequest) -> list[Finding]:
    """Return the findings that the user may see.

    Findings about no embed, such as those about a whole project, are only for users from whom the
    policy holds nothing back.
    """
    # Loading it takes 8 ms, most of them for Django's migration executor. This page alone needs it.
    from kapso_inbox.diagnosis import diagnose

    sees_everything = model_admin.sees_everything(request)
    visible = set(model_admin.get_queryset(request).order_by().values_list("slug", flat=True))
    return diagnose(
        remembered_for=REMEMBERED_FOR,
        tells=lambda finding: finding.embed in visible if finding.embed else sees_everything,
    )


def _button_url(model_admin: PolicyModelAdmin, verb: str, embed: InboxEmbed | None) -> str:
    if embed is None:
        return page_url(model_admin, verb)
    if verb == CHANGE:
        return page_url(model_admin, "change", embed.pk)
    return page_url(model_admin, "verb", verb, id=str(embed.pk))
