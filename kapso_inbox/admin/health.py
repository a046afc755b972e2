"""The health page: the findings of `kapso_doctor`, each with the buttons that fix it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf, refusals
from kapso_inbox.failures import REMEMBERED_FOR
from kapso_inbox.models import AccessLink, Condition, InboxEmbed

from .pages import page_url, render_page, verb_url
from .policy import PolicyModelAdmin
from .verbs import VERBS, why_not

if TYPE_CHECKING:
    from kapso_inbox.diagnosis import AdminPage, Finding


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

#: About how many embeds and links the page looks at: a request must not take long.
MOST = 500

#: The findings about no embed that mention one. Others may name a project or a key like its slug.
MENTIONS = frozenset({"api-key-accepted"})

#: What a finding names: an embed by its slug or its name, or anything else.
_MENTION = re.compile("“([^“”]*)”")

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
                yield Button(name, _("Look for inboxes at Kapso"), "change")
        elif name == CHANGE:
            yield Button(name, _("Change its origins"), "change")
        elif name in VERBS and not why_not(VERBS[name], embed):
            yield Button(name, str(VERBS[name].label), VERBS[name].permission)


@dataclass
class Entry:
    """A finding as the page shows it.

    Attributes:
        finding: the finding.
        embed: the embed that it is about, if any.
        url: the address of that embed's page.
        what: what was found, with each embed by its name, as a link.
        buttons: its buttons: labels, addresses and verbs.
        hint: what to do, if that is not what a button does.
    """

    finding: Finding
    embed: InboxEmbed | None
    url: str
    what: str
    buttons: list[dict[str, str]]
    hint: str


@dataclass
class Group:
    """Entries under one heading.

    Attributes:
        title: the heading: the site, an inbox by name, or several inboxes with one cause.
        entries: the entries.
        url: the address that the heading leads to, if any.
        hint: what to do about all entries, if it is the same.
    """

    title: str
    entries: list[Entry]
    url: str = ""
    hint: str = ""

    @property
    def level(self) -> str:
        """The worst level of the entries."""
        return min((entry.finding.level for entry in self.entries), key=LEVELS.index)


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
        _entry(model_admin, request, finding, embeds, permissions)
        for finding in findings
        # An embed that is missing was deleted in the meantime, or is not the user's to see.
        if not finding.embed or finding.embed in embeds
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
        wrong_groups=_grouped(wrong),
        fine_groups=_grouped(fine),
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
    finding: Finding,
    embeds: Mapping[str, InboxEmbed],
    permissions: Collection[str],
) -> Entry:
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
    hint = "" if pressed and finding.code in FIXED_BY_BUTTON else finding.hint
    if finding.page and (address := _address_of(model_admin, request, finding.page)):
        pressed.append({"label": finding.page.title, "url": address, "verb": "page"})
        hint = finding.page.hint
    return Entry(
        finding=finding,
        embed=embed,
        url=page_url(model_admin, "change", embed.pk) if embed else "",
        what=_link_mentions(
            model_admin,
            finding.what,
            *(embeds[slug] for slug in _slugs_in(finding) if slug in embeds),
        ),
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


def _slugs_in(finding: Finding) -> set[str]:
    """Return the slug of the embed that a finding is about, or of one that it only mentions."""
    return set(_MENTION.findall(finding.what)) if finding.code in MENTIONS else {finding.embed}


def _link_mentions(model_admin: PolicyModelAdmin, text: str, *embeds: InboxEmbed) -> SafeString:
    """Return a text with each mention of these embeds, by slug or by name, as a link by its name.

    Args:
        model_admin: whose page it is.
        text: the text, which has embeds between quotation marks.
        embeds: the embeds that it may mention, all visible to the reader.
    """
    known = {key: embed for embed in embeds for key in (embed.name, embed.slug)}
    # Every second part is what the pattern's group found.
    mentioned = [
        format_html('“<a href="{}">{}</a>”', page_url(model_admin, "change", found.pk), found.name)
        if is_quoted and (found := known.get(part))
        else format_html("“{}”" if is_quoted else "{}", part)
        for is_quoted, part in zip(cycle([False, True]), _MENTION.split(text), strict=False)
    ]
    return format_html_join("", "{}", ((part,) for part in mentioned))


def _grouped(entries: list[Entry]) -> list[Group]:
    """Return the entries by inbox. Where several have one cause, they are one group.

    What is about no inbox comes first among what is as bad.
    """
    causes: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.hint:
            causes[entry.finding.code, entry.hint].append(entry)
    site: list[Entry] = []
    shared: dict[tuple[str, str], Group] = {}
    inboxes: dict[int, Group] = {}
    for entry in entries:
        cause = entry.finding.code, entry.hint
        alike = causes.get(cause, [])
        if sum(one.embed is not None for one in alike) > 1:
            if cause not in shared:
                shared[cause] = Group(_("Several inboxes"), alike, hint=entry.hint)
        elif entry.embed is None:
            site.append(entry)
        else:
            group = inboxes.setdefault(entry.embed.pk, Group(entry.embed.name, [], entry.url))
            group.entries.append(entry)
    for group in inboxes.values():
        _show_each_button_once(group)
    groups = [Group(_("This site and Kapso"), site)] if site else []
    groups += [*shared.values(), *sorted(inboxes.values(), key=lambda group: group.title)]
    return sorted(groups, key=lambda group: LEVELS.index(group.level))


def _show_each_button_once(group: Group) -> None:
    """Leave each button of an inbox only beside the worst finding that it fixes."""
    seen: set[str] = set()
    for entry in group.entries:
        entry.buttons = [button for button in entry.buttons if button["url"] not in seen]
        seen.update(button["url"] for button in entry.buttons)


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
        said = "{}" if len(aliases) == 1 else f"{one}: {{}}"
        try:
            report = sync_project(one, patience=0)
        except refusals.REFUSALS as error:
            model_admin.message_user(request, said.format(refusals.texts(error)), messages.ERROR)
            continue
        reports.append(report)
        for level, notes in (
            (messages.WARNING, report.problems),
            (messages.INFO, report.left_undone),
        ):
            for note in notes:
                about = model_admin.get_queryset(request).filter(slug=note.values.get("embed"))
                told = _link_mentions(model_admin, said.format(note), *about)
                model_admin.message_user(request, told, level)
    found = sum(report.unmanaged for report in reports)
    if found:
        model_admin.message_user(request, _what_was_found(model_admin, found), messages.SUCCESS)
    elif any(report.complete for report in reports):
        text = _("Found no inbox at Kapso that is not listed here.")
        if conf.shares_projects():
            text += " " + _("Inboxes of other sites that share the project are left out.")
        model_admin.message_user(request, text, messages.SUCCESS)
    back = "changelist" if request.POST.get("back") == "changelist" else "health"
    return HttpResponseRedirect(page_url(model_admin, back, request=request))


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
