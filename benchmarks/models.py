"""The table for the views in `by_hand.py`."""

from __future__ import annotations

from django.db import models


class PlainInbox(models.Model):
    """An inbox's secret address, in plain text for anyone who can read the database."""

    slug = models.SlugField(unique=True)
    url = models.URLField(max_length=500)

    def __str__(self) -> str:
        return self.slug


class PlainEvent(models.Model):
    """An event of a webhook, for `webhooks_by_hand.py`."""

    key = models.CharField(max_length=64, unique=True)
    message_id = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.key
