"""The table of who writes it by hand."""

from __future__ import annotations

from django.db import models


class PlainInbox(models.Model):
    """An inbox's secret address, in a column that everybody can read who reads the database."""

    slug = models.SlugField(unique=True)
    url = models.URLField(max_length=500)

    def __str__(self) -> str:
        return self.slug
