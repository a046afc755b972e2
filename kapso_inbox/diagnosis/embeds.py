"""Every embed: whether it opens, until when, and which pages may show it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db.models import Count, OuterRef, Q, Subquery, TextField, Value
from django.db.models.functions import Cast
from django.db.models.lookups import Contains
from django.utils import timezone
from django.utils.translation import gettext as _

from kapso_inbox import conf
from kapso_inbox.models import SOON, AccessLink, Condition, InboxEmbed
from kapso_inbox.origins import Origin, covers, host_of, is_local, parse_origin
from kapso_inbox.reasons import (
    answer_of,
    describe_differences,
    describe_reason,
    format_time,
    meaning_of_reason,
)

from .findings import Finding, error, info, list_in_words, warning
from .samples import Selection, some_of_each_fault
from .this_site import origins_of_site
from .totals import ProjectTotals

_State = AccessLink.State

#: The number of rows in memory at a time.
_ROWS = 500


def embed_findings(totals: dict[str, ProjectTotals], selection: Selection) -> Iterator[Finding]:
    """Check each embed: whether it opens, until when, and which pages may show it.

    It counts the embeds of each project, and reads them row by row.

    Args:
        totals: filled with the number of embeds of each project.
        selection: which embeds are checked.
    """
    now = timezone.now()
    rows = selection.of(InboxEmbed.objects.for_write())
    for alias, count in rows.order_by().values_list("project").annotate(Count("pk")):
        totals.setdefault(alias, ProjectTotals()).embeds = count
    rows, total = some_of_each_fault(rows, "project", _faults(now), selection)
    if not selection.takes_all(total):
        yield _not_all_checked(total)
    newest = AccessLink.objects.filter(embed=OuterRef("pk")).order_by("-created_at", "-pk")
    rows = rows.annotate(newest_reason=Subquery(newest.values("reason")[:1])).order_by("slug")
    rows = rows.select_related("current_link").with_condition()
    here = origins_of_site()
    active = elsewhere = 0
    for embed in rows.iterator(_ROWS):
        link = embed.current_link
        if link is not None and link.state == _State.ACTIVE:
            active += 1
            yield from _expiry_findings(embed, now)
            yield from _difference_findings(embed, link)
            yield from _narrowing_findings(embed)
            for finding in _origin_findings(embed, here):
                elsewhere += finding.code == "origins-miss-site"
                yield finding
        elif not (embed.has_unsettled_links or embed.condition == Condition.WAITING):  # type: ignore[attr-defined]
            # Otherwise the findings about those links say what to do first.
            yield from _link_findings(embed)
    if not total and selection.projects is None:
        yield info(
            "no-embeds",
            _("No inbox is known here yet."),
            _("Run manage.py kapso_sync to find those that exist at Kapso, or create one."),
        )
    if elsewhere * 2 > active and not conf.is_read_only():
        yield warning(
            "database-copied",
            _(
                "%(elsewhere)d of %(active)d inboxes may be shown by other sites, but not by "
                "this one."
            )
            % {"elsewhere": elsewhere, "active": active},
            _(
                "If this database is a copy of such a site's, set READ_ONLY here before anybody "
                "rotates a link: that would end the link of that site."
            ),
        )
    if active and not here:
        yield info(
            "site-unknown",
            _("The origin of this site is unknown, so the allowed origins could not be checked."),
            _("Name its host in ALLOWED_HOSTS, or its origin in CSRF_TRUSTED_ORIGINS."),
        )


def _not_all_checked(total: int) -> Finding:
    return info(
        "not-all-checked",
        _(
            "There are %(total)d inboxes, so only some of the secret addresses and allowed origins "
            "were checked here."
        )
        % {"total": total},
        _("Run manage.py kapso_doctor, which checks all of them."),
    )


def _faults(now: datetime) -> dict[str, Q]:
    """Return which embeds have something wrong, by the code of the finding, as far as SQL tells."""
    active = Q(current_link__state=_State.ACTIVE)
    return {
        "embed-without-link": Q(current_link=None) | Q(current_link__state=_State.FAILED),
        "embed-revoked": Q(current_link__state__in=(_State.REVOKING, _State.REVOKED)),
        "embed-different": active & ~Q(current_link__differences=""),
        "embed-not-narrowed": active & ~Q(personal_to="") & Q(assigned_user_id=""),
        "link-expired": active & Q(expires_at__lte=now),
        "link-expires-soon": active & Q(expires_at__gt=now, expires_at__lte=now + SOON),
        "origins-none": active & Q(allowed_origins=[]),
        "origins-any": active & Q(Contains(Cast("allowed_origins", TextField()), Value('"*"'))),
    }


def _link_findings(embed: InboxEmbed) -> Iterator[Finding]:
    """Report an embed whose current link is not active."""
    link = embed.current_link
    if link is None or link.state not in AccessLink.LIVE | {_State.REVOKED}:
        what = _("The inbox “%(embed)s” does not open: it has no working link.")
        stored = embed.newest_reason or ""  # type: ignore[attr-defined]
        reason = describe_reason(stored, names_answer=False)
        if reason:
            what += " " + _("The last one failed: %(reason)s")
        meaning = meaning_of_reason(stored)
        # Most reasons have passed, or are Kapso's: nobody here could fix anything.
        can_be_fixed = meaning is not None and not meaning.passes
        yield error(
            "embed-without-link",
            what % {"embed": embed.slug, "reason": reason},
            _("Fix why that failed, then rotate the link of the inbox, which creates a new one.")
            if can_be_fixed
            else _("Rotate its link, which creates a new one."),
            project=embed.project,
            embed=embed.slug,
            details=answer_of(stored),
        )
    elif link.state in (_State.REVOKING, _State.REVOKED):
        yield info(
            "embed-revoked",
            _("The inbox “%(embed)s” is revoked; pages that show it say so.")
            % {"embed": embed.slug},
            _("Remove it from those pages, or rotate its link to bring it back."),
            project=embed.project,
            embed=embed.slug,
        )


def _difference_findings(embed: InboxEmbed, link: AccessLink) -> Iterator[Finding]:
    """Check that the link still shows the conversations that it was created for."""
    if link.differences:
        yield error(
            "embed-different",
            _(
                "Nobody can open the inbox “%(embed)s”: at Kapso its link shows "
                "conversations that it was not created for (%(differences)s)."
            )
            % {"embed": embed.slug, "differences": describe_differences(link.differences)},
            _("Rotate its link: the new one shows the right ones, and the old one is revoked."),
            project=embed.project,
            embed=embed.slug,
        )


def _narrowing_findings(embed: InboxEmbed) -> Iterator[Finding]:
    """Check that a user's own inbox still shows only what is assigned to that user."""
    if embed.personal_to and not embed.assigned_user_id:
        yield error(
            "embed-not-narrowed",
            _(
                "Nobody can open the inbox “%(embed)s”: it belongs to one person, and at "
                "Kapso it is no longer limited to a team member."
            )
            % {"embed": embed.slug},
            _("Revoke it and delete its record. That person then sets up their own inbox again."),
            project=embed.project,
            embed=embed.slug,
        )


def _expiry_findings(embed: InboxEmbed, now: datetime) -> Iterator[Finding]:
    """Report a link that has expired, or expires within `SOON` and is not renewed before."""
    if embed.expires_at is None:
        return
    texts = {"embed": embed.slug, "when": format_time(embed.expires_at)}
    renews_before = conf.duration("RENEW_BEFORE")
    if embed.expires_at <= now:
        yield error(
            "link-expired",
            _("The inbox “%(embed)s” has not opened since %(when)s, when its link expired.")
            % texts,
            _("Change its expiry, or revoke it if it is not wanted any more."),
            project=embed.project,
            embed=embed.slug,
        )
    elif embed.expires_at <= now + SOON:
        if renews_before and embed.expires_at > now + renews_before:
            return  # kapso_sync renews it in time
        yield warning(
            "link-expires-soon",
            _("On %(when)s the link of the inbox “%(embed)s” expires.") % texts,
            _("manage.py kapso_sync should have renewed it: check that it runs.")
            if renews_before
            else _(
                'Give it a later expiry, or let kapso_sync renew it: KAPSO_INBOX["RENEW_BEFORE"].'
            ),
            project=embed.project,
            embed=embed.slug,
        )


def _origin_findings(embed: InboxEmbed, here: list[Origin]) -> Iterator[Finding]:
    """Check which pages may show the inbox. Kapso makes browsers enforce that."""
    listed = embed.allowed_origins if isinstance(embed.allowed_origins, list) else []
    allowed = [origin for origin in listed if isinstance(origin, str)]
    texts = {"embed": embed.slug, "origins": list_in_words(allowed)}
    narrow = _(
        "Set its allowed origins to those of this site only, such as https://crm.example.com."
    )
    if not allowed or "*" in allowed:
        yield warning(
            "origins-any" if allowed else "origins-none",
            _("Any site can show the inbox “%(embed)s”: its allowed origins are “*”.") % texts
            if allowed
            else _("Any site can show the inbox “%(embed)s”: it has no allowed origins.") % texts,
            narrow,
            project=embed.project,
            embed=embed.slug,
        )
        return
    local = [origin for origin in allowed if is_local(host_of(origin))]
    if local and not settings.DEBUG:
        yield warning(
            "origins-local",
            _(
                "The inbox “%(embed)s” may be shown by %(local)s, which is each reader's "
                "own computer."
            )
            % {**texts, "local": list_in_words(local)},
            _("Remove that origin: it was meant for development."),
            project=embed.project,
            embed=embed.slug,
        )
    if here and not any(covers(one, site) for one in allowed for site in here):
        # Sites that may send forms here need not be this one.
        senders = {parse_origin(sender) for sender in settings.CSRF_TRUSTED_ORIGINS}
        make = error if set(here) - senders else warning
        yield make(
            "origins-miss-site",
            _(
                "The inbox “%(embed)s” stays blank on this site: it may only be shown by "
                "%(origins)s."
            )
            % texts,
            _(
                "In the deployment that the inbox belongs to, add the origin of this site "
                "to its allowed origins."
            )
            if conf.is_read_only()
            else _("Add the origin of this site to its allowed origins."),
            project=embed.project,
            embed=embed.slug,
            details=_(
                "This site is %(site)s, according to ALLOWED_HOSTS, CSRF_TRUSTED_ORIGINS or its "
                "domains."
            )
            % {"site": list_in_words(map(str, here))},
        )
