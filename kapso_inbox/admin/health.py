"""The health page: the findings of `kapso_doctor`, each with the buttons that fix it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf
from kapso_inbox.failures import REMEMBERED_FOR
from kapso_inbox.models import AccessLink, Condition, InboxEmbed

from .entries import LEVELS, Entry, by_cause, grouped
from .look import SYNC, may_look
from .mentions import MENTION, link_embeds
from .pages import page_url, render_page, verb_url
from .policy import PolicyModelAdmin
from .verbs import VERBS, why_not

if TYPE_CHECKING:
    from kapso_inbox.diagnosis import AdminPage, Finding


#: Buttons that are not verbs, besides `SYNC`: to the embed's form, to the form of a new embed.
CHANGE, ADD = "change", "add"

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

#: The findings whose button does what their text tells an operator to do in a shell.
FIXED_BY_BUTTON = frozenset(
    {
        "creation-stuck",
        "link-revoked-at-kapso",
        "link-unknown",
        "no-embeds",
        "revocation-stuck",
        "revocation-unconfirmed",
    }
)

#: The condition of the embeds that a finding is about, by its code. The list can be filtered by it.
CONDITIONS: Mapping[str, Condition] = {
    "embed-different": Condition.DIFFERENT,
    "embed-not-narrowed": Condition.UNASSIGNED,
    "embed-revoked": Condition.REVOKED,
    "embed-without-link": Condition.NO_LINK,
    "link-expired": Condition.EXPIRED,
    "link-expires-soon": Condition.EXPIRES_SOON,
    "link-of-another-deployment": Condition.UNMANAGED,
    "link-unmanaged": Condition.UNMANAGED,
}

#: About how many embeds and links the page looks at: a request must not take long.
MOST = 500

#: The findings about no embed that mention one. Others may name a project or a key like its slug.
MENTIONS = frozenset({"api-key-accepted"})


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
                yield Button(name, _("Look for inboxes at Kapso"), "change")
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
        .filter(slug__in=set().union(*map(_slugs_in, findings)))
    }
    permissions = model_admin.get_permissions(request)
    entries = [
        _entry(model_admin, request, alike, embeds, permissions)
        for alike in by_cause(findings)
        # An embed that is missing was deleted in the meantime, or is not the user's to see.
        if not alike[0].embed or alike[0].embed in embeds
    ]
    entries.sort(key=lambda entry: LEVELS.index(entry.finding.level))
    wrong = [entry for entry in entries if entry.finding.level != "info"]
    fine = [entry for entry in entries if entry.finding.level == "info"]
    return render_page(
        model_admin,
        request,
        "health",
        title=_("Health"),
        wrong=wrong,
        fine=fine,
        wrong_groups=grouped(wrong),
        fine_groups=grouped(fine),
        names_projects=len(conf.project_aliases()) > 1,
        look_url=page_url(model_admin, SYNC) if may_look(model_admin, request) else "",
        never_looked=model_admin.sees_everything(request) and not _has_looked(),
        knows_none=any(finding.code == "no-embeds" for finding in findings),
    )


def _has_looked() -> bool:
    """Return whether any link was ever seen in Kapso's list."""
    return AccessLink.objects.exclude(seen_at=None).exists()


def _entry(
    model_admin: PolicyModelAdmin,
    request: HttpRequest,
    alike: list[Finding],
    embeds: Mapping[str, InboxEmbed],
    permissions: Collection[str],
) -> Entry:
    """Return what the page shows of findings of one code about one embed, or of a single one."""
    finding = alike[0]
    embed = embeds.get(finding.embed)
    pressed = [
        {
            "label": button.label,
            "url": _button_url(model_admin, request, button.verb, embed),
            "verb": button.verb,
        }
        for button in buttons(finding, embed)
        if button.permission in permissions
    ]
    hint = "" if finding.more or (pressed and finding.code in FIXED_BY_BUTTON) else finding.hint
    if finding.page and (address := _address_of(model_admin, request, finding.page)):
        pressed.append({"label": finding.page.title, "url": address, "verb": "page"})
        hint = finding.page.hint
    return Entry(
        findings=alike,
        embed=embed,
        url=page_url(model_admin, "change", embed.pk) if embed else "",
        what=_what(model_admin, alike, embeds),
        buttons=pressed,
        hint=hint,
    )


def _address_of(model_admin: PolicyModelAdmin, request: HttpRequest, page: AdminPage) -> str:
    """Return the address of an app's own page; "" if this admin site or this user has none."""
    if not may_look(model_admin, request):
        return ""
    try:
        return reverse(f"admin:{page.name}", current_app=model_admin.admin_site.name)
    except NoReverseMatch:
        return ""


def _what(
    model_admin: PolicyModelAdmin, alike: list[Finding], embeds: Mapping[str, InboxEmbed]
) -> str:
    """Return what was found, with links to the embeds that it is about."""
    finding, count = alike[0], len(alike)
    if finding.more and finding.code in CONDITIONS:
        return _how_many_more(model_admin, finding)
    mentioned = [embeds[slug] for slug in _slugs_in(finding) if slug in embeds]
    what = link_embeds(model_admin, finding.what, *mentioned)
    if count == 1:
        return what
    links = ngettext("There is %(count)d such link.", "There are %(count)d such links.", count)
    return format_html("{} {}", what, links % {"count": count})


def _how_many_more(model_admin: PolicyModelAdmin, finding: Finding) -> str:
    """Return how many more embeds have a condition, with a link to the list of all of them."""
    condition = CONDITIONS[finding.code]
    query = {"state": condition.value}
    if len(conf.project_aliases()) > 1:
        query["project"] = finding.project
    address = f"{page_url(model_admin, 'changelist')}?{urlencode(query)}"
    more = ngettext(
        "%(count)d more inbox has the state {state}.",
        "%(count)d more inboxes have the state {state}.",
        finding.more,
    )
    state = format_html('“<a href="{}">{}</a>”', address, condition.label)
    return format_html(more % {"count": finding.more}, state=state)


def _slugs_in(finding: Finding) -> set[str]:
    """Return the slug of the embed that a finding is about, or of one that it only mentions."""
    return set(MENTION.findall(finding.what)) if finding.code in MENTIONS else {finding.embed}


def _findings(model_admin: PolicyModelAdmin, request: HttpRequest) -> list[Finding]:
    """Return the findings that the user may see.

    Findings about no embed, such as those about a whole project, are only for users from whom the
    policy holds nothing back. Others are told only if not all of their embeds were looked at.
    """
    # Loading it takes 8 ms, most of them for Django's migration executor. This page alone needs it.
    from kapso_inbox.diagnosis import diagnose

    if model_admin.sees_everything(request):
        return diagnose(remembered_for=REMEMBERED_FOR, most=MOST)
    return diagnose(
        remembered_for=REMEMBERED_FOR,
        tells=lambda finding: bool(finding.embed) or finding.code == "not-all-checked",
        among=model_admin.get_queryset(request),
        most=MOST,
    )


def _button_url(
    model_admin: PolicyModelAdmin, request: HttpRequest, verb: str, embed: InboxEmbed | None
) -> str:
    if embed is None:
        return page_url(model_admin, verb)
    if verb == CHANGE:
        return page_url(model_admin, "change", embed.pk)
    return verb_url(model_admin, request, verb, [embed.pk], "health")
