"""The preview of an embed, what can be picked at Kapso, and the health page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf, lookups, refusals, sync
from kapso_inbox.access import get_policy
from kapso_inbox.models import InboxEmbed

from . import health
from .base import EmbedPages

if TYPE_CHECKING:
    from kapso_inbox.diagnosis import Finding


class OtherPages(EmbedPages):
    """What an administrator looks at beside the list and the forms."""

    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show an embed as people will see it: a launch like any other, on record."""
        embed = self._embed_or_404(request, object_id)
        mine = InboxEmbed.objects.filter(pk=embed.pk)
        may_open = get_policy().openable(request.user, mine).exists()
        return self._page(
            request,
            "preview",
            title=_("Preview"),
            subtitle=str(embed),
            panel=self._panel(request, embed),
            original=embed,
            may_open=may_open,
        )

    def lookup_view(self, request: HttpRequest) -> HttpResponse:
        """Search what can be picked at Kapso, for the fields of the form."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
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
                query.get("q", "")[:100],
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

    def health_view(self, request: HttpRequest) -> HttpResponse:
        """Say what is wrong and what to press."""
        from kapso_inbox.diagnosis import diagnose  # not at start-up, which has no need of it

        if not self.has_view_permission(request):
            raise PermissionDenied
        reaches_all = get_policy().reaches_all(request.user)
        visible = set(self.get_queryset(request).order_by().values_list("slug", flat=True))
        findings = diagnose(
            # Of others', and of all of a project, only who may know of every embed is told.
            tells=lambda finding: finding.embed in visible if finding.embed else reaches_all
        )
        slugs = {finding.embed for finding in findings if finding.embed}
        theirs = {one.slug: one for one in self._shown(request).filter(slug__in=slugs)}
        may = {
            "add": self.has_add_permission(request),
            "change": self.has_change_permission(request),
            "delete": self.has_delete_permission(request),
        }
        rows: list[tuple[Finding, list[dict[str, str]]]] = []
        for finding in findings:
            embed = theirs.get(finding.embed)
            if embed is None and finding.embed:
                continue  # it went meanwhile
            pressed = [
                {
                    "label": button.label,
                    "url": self._mend_url(button.verb, embed),
                    "verb": button.verb,
                }
                for button in health.buttons(finding)
                if may[button.permission] and health.mends(button, embed)
            ]
            rows.append((finding, pressed))
        rank = {"error": 0, "warning": 1, "info": 2}
        rows.sort(key=lambda row: rank[row[0].level])
        wrong = [row for row in rows if row[0].level != "info"]
        fine = [row for row in rows if row[0].level == "info"]
        return self._page(request, "health", title=_("Health"), wrong=wrong, fine=fine)

    def _mend_url(self, verb: str, embed: InboxEmbed | None) -> str:
        if embed is None:
            return self._url(verb)
        if verb == health.CHANGE:
            return self._url("change", embed.pk)
        return self._url("verb", verb, id=str(embed.pk))

    def sync_view(self, request: HttpRequest) -> HttpResponse:
        """Compare a whole Kapso project with what is here, as kapso_sync does."""
        alias = request.POST.get("project", "")
        if request.method != "POST" or alias not in conf.project_aliases():
            raise Http404
        policy = get_policy()
        if not self.has_change_permission(request) or not policy.reaches_all(request.user):
            raise PermissionDenied
        try:
            report = sync.sync_project(alias, patience=0)
        except refusals.REFUSALS as error:
            self.message_user(request, refusals.texts(error), messages.ERROR)
            return HttpResponseRedirect(self._url("health"))
        for problem in report.problems:
            self.message_user(request, problem, messages.WARNING)
        if report.complete:
            text = ngettext(
                "Compared with Kapso: %(count)d inbox in its list.",
                "Compared with Kapso: %(count)d inboxes in its list.",
                report.listed,
            )
            self.message_user(request, text % {"count": report.listed}, messages.SUCCESS)
        return HttpResponseRedirect(self._url("health"))

    def _embed_or_404(self, request: HttpRequest, object_id: str) -> InboxEmbed:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_object(request, unquote(object_id))
        embed = found and self._shown(request).filter(pk=found.pk).first()
        if embed is None:
            raise Http404
        return embed
