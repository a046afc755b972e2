"""The table for the views in `by_hand.py`."""

from __future__ import annotations

from django.db import models


class PlainInbox(models.Model):
    """An inbox's secret address, in plain text for anyone who can read the database."""

    slug = models.SlugField(unique=True)
    url = models.URLField(max_length=500)

    def __str__(self) -> str:
        return self.slug
