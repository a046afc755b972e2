"""Write many embeds, each with a link and a group, directly to the database and without Kapso."""

from __future__ import annotations

import itertools
from typing import Any


def fill(number: int, groups: list[Any]) -> None:
    """Add embeds until there are enough. Their order by name differs from their order by age.

    Args:
        number: how many embeds there are afterwards.
        groups: each embed is for one of them, in turns.
    """
    from django.db import connection
    from django.db.models import OuterRef, Subquery

    from kapso_inbox.models import AccessLink, InboxEmbed

    embeds = InboxEmbed.objects.bulk_create(
        (
            InboxEmbed(slug=f"embed-{place}", name=f"Customer {place * 7919 % 1_000_003:07}")
            for place in range(InboxEmbed.objects.count(), number)
        ),
        batch_size=1000,
    )
    AccessLink.objects.bulk_create(
        (
            AccessLink(
                embed=embed,
                kapso_id=f"kapso-{embed.slug}",
                reference=f"{embed.pk:010}",
                state=AccessLink.State.ACTIVE,
                sealed_url="x" * 250,
            )
            for embed in embeds
        ),
        batch_size=1000,
    )
    through = InboxEmbed.groups.through
    rows = (
        through(inboxembed_id=embed.pk, group_id=group.pk)
        for embed, group in zip(embeds, itertools.cycle(groups), strict=False)
    )
    through.objects.bulk_create(rows, batch_size=1000)
    link = AccessLink.objects.filter(embed=OuterRef("pk")).values("pk")
    InboxEmbed.objects.filter(current_link=None).update(current_link=Subquery(link[:1]))
    with connection.cursor() as cursor:  # a database soon does this by itself
        analyze = {"mysql": "ANALYZE TABLE", "postgresql": "VACUUM ANALYZE"}
        for model in (InboxEmbed, AccessLink, through):
            cursor.execute(f"{analyze.get(connection.vendor, 'ANALYZE')} {model._meta.db_table}")
