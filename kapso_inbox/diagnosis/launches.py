"""What the record of launches says about the site."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from kapso_inbox import clock
from kapso_inbox.models import LaunchAttempt, Outcome

from .findings import Finding, warning

_PERIOD = timedelta(days=1)


def launch_findings() -> Iterator[Finding]:
    """Check that browsers say that frames ask, and that pages are where inboxes may be shown.

    A single refusal of a request that is not by a frame may be somebody's own doing.
    """
    lately = LaunchAttempt.objects.filter(created_at__range=clock.lately(_PERIOD))
    counts = lately.aggregate(
        refused=Count("pk", filter=Q(outcome=Outcome.NOT_IN_FRAME)),
        opened=Count("pk", filter=Q(outcome=Outcome.OPENED)),
        elsewhere=Count("pk", filter=Q(outcome=Outcome.WRONG_ORIGIN)),
    )
    if counts["elsewhere"]:
        yield warning(
            "launches-from-other-origins",
            _(
                "In the last day, inboxes were refused because their links do not allow the origin "
                "of the page."
            ),
            _(
                "The record of launch attempts says which inboxes. Add the origin of the page to "
                "their allowed origins, as the browser shows it, with its port."
            ),
        )
    if counts["refused"] > counts["opened"]:
        yield warning(
            "launches-not-by-frames",
            _(
                "In the last day, more launches were refused than inboxes were opened, "
                "because they did not seem to come from a frame on this site."
            ),
            _(
                "If the site has a service worker, it must not answer the requests of frames. "
                "Otherwise make sure that the site is on https and that browsers are current."
            ),
        )
