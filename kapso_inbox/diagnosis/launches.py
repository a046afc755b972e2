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
    """Check that browsers say that frames ask. A single refusal may be somebody's own doing."""
    lately = LaunchAttempt.objects.filter(created_at__range=clock.lately(_PERIOD))
    counts = lately.aggregate(
        refused=Count("pk", filter=Q(outcome=Outcome.NOT_IN_FRAME)),
        opened=Count("pk", filter=Q(outcome=Outcome.OPENED)),
    )
    if counts["refused"] > counts["opened"]:
        yield warning(
            "launches-not-by-frames",
            _(
                "In the last day, more launches were refused because no frame of this site seemed "
                "to ask than inboxes were opened."
            ),
            _(
                "If the site has a service worker, it must not answer the requests of frames. "
                "Otherwise make sure that the site is on https and that browsers are current."
            ),
        )
