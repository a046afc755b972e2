"""The pages of a verb: what will happen to each embed, and then what became of it."""

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

from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet

from .base import EmbedPages
from .verbs import VERBS, Result, Target, Verb, carry_out, is_id

#: So many embeds at a time: each takes one or more requests to Kapso.
MOST = 100
#: Seconds after which no further embed is begun; a button goes on with the rest. Web servers end a
#: request after 30 as they come (gunicorn).
TIME = 20


class VerbPages(EmbedPages):
    """The confirmation of a verb, and its results."""

    def ask_to_confirm(
        self,
        request: HttpRequest,
        verb: Verb,
        embeds: InboxEmbedQuerySet,
        form: Form | None = None,
    ) -> HttpResponse:
        """Say what will happen to each embed, before it does."""
        chosen = list(embeds.with_condition().with_newest_link()[: MOST + 1])
        if len(chosen) > MOST:
            text = _("At most %(most)d at a time, since each takes requests to Kapso.")
            self.message_user(request, text % {"most": MOST}, messages.ERROR)
            return HttpResponseRedirect(self._url("changelist"))
        may = self._may_do(request, verb, chosen)
        rows = [
            {
                "embed": embed,
                "state": self.state(embed),
                "obstacle": verb.obstacle(embed) if embed.pk in may else _only_to_be_seen(),
                "target": Target.of(embed, embed.newest_link_id),  # type: ignore[attr-defined]
            }
            for embed in chosen
        ]
        possible = sum(not row["obstacle"] for row in rows)
        if form is None and verb.form is not None:
            form = verb.form(initial={"expiry": "30"})
        return self._page(
            request,
            "confirm",
            title=verb.label,
            verb=verb,
            rows=rows,
            possible=possible,
            form=form,
            media=self.media + form.media if form is not None else self.media,
            action_url=self._url("verb", verb.name),
        )

    def _may_do(self, request: HttpRequest, verb: Verb, embeds: Iterable[InboxEmbed]) -> set[int]:
        """Return the primary keys of those that the administrator may not only look at."""
        keys = [embed.pk for embed in embeds]
        allowed = self._manageable(request, verb.permission).filter(pk__in=keys)
        return set(allowed.values_list("pk", flat=True))

    def verb_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask, and once that is confirmed, do it and tell what became of each embed.

        What is told stands in the answer itself. Loading it again is harmless: each embed comes
        with the newest link that the administrator saw, and another one since stops it.
        """
        verb = VERBS.get(name)
        if verb is None:
            raise Http404
        if not request.user.has_perm(f"kapso_inbox.{verb.permission}_inboxembed"):
            raise PermissionDenied
        embeds = self._shown(request)
        if request.method != "POST" or "confirmed" not in request.POST:
            chosen = request.GET.getlist("id") or request.POST.getlist(ACTION_CHECKBOX_NAME)
            ids = [int(one) for one in chosen if is_id(one)]
            found = embeds.filter(pk__in=ids)
            if not found.exists():
                raise Http404
            return self.ask_to_confirm(request, verb, found)
        try:
            targets = [Target.read(text) for text in request.POST.getlist("target")[:MOST]]
        except ValueError:
            raise Http404 from None
        by_id = {embed.pk: embed for embed in embeds.filter(pk__in=[t.embed_id for t in targets])}
        form = verb.form(request.POST) if verb.form is not None else None
        if form is not None and not form.is_valid():
            return self.ask_to_confirm(request, verb, embeds.filter(pk__in=by_id), form)
        results, rest = self._run(request, verb, targets, by_id, form.cleaned_data if form else {})
        return self._page(
            request,
            "results",
            title=verb.label,
            verb=verb,
            results=results,
            rest=rest,
            rest_text=ngettext(
                "Go on with the one that is left",
                "Go on with the %(count)d that are left",
                len(rest),
            )
            % {"count": len(rest)},
            form=form,
            action_url=self._url("verb", verb.name),
        )

    def _run(
        self,
        request: HttpRequest,
        verb: Verb,
        targets: Iterable[Target],
        embeds: dict[int, InboxEmbed],
        values: dict[str, Any],
    ) -> tuple[list[Result], list[Target]]:
        """Do it to one after another, as long as there is time; return what is left, too."""
        results: list[Result] = []
        rest: list[Target] = []
        may = self._may_do(request, verb, embeds.values())
        until = time.monotonic() + TIME
        for target in targets:
            embed = embeds.get(target.embed_id)
            if embed is None:
                continue  # gone, or out of their sight
            if time.monotonic() > until:
                rest.append(target)
                continue
            if embed.pk not in may:
                results.append(Result(embed, "nothing", _only_to_be_seen()))
                continue
            result = carry_out(verb, embed, target, request.user, values)
            results.append(result)
            if result.outcome == "done" and verb.name == "delete":
                self.log_deletions(request, [embed])  # type: ignore[arg-type]
            elif result.outcome == "done":
                self.log_change(request, embed, f"{verb.label}: {result.text}")
        return results, rest


def _only_to_be_seen() -> str:
    return _("You may look at it, not change it.")
