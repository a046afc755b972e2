"""`{% load kapso_inbox_pages %}`: a tag for this app's own templates alone."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from django import template
from django.utils.translation import get_language, to_locale

register = template.Library()

_CATALOGUES = Path(__file__).parent.parent / "locale"


@register.simple_tag
def language_of_texts() -> str:
    """Return the language of this app's texts: the reader's if it is translated, else English."""
    return _nearest(get_language() or "")


@lru_cache(maxsize=64)
def _nearest(language: str) -> str:
    # Cached: every component of every page asks, and the catalogues never change at run time.
    for one in (language, language.partition("-")[0]):
        if one and (_CATALOGUES / to_locale(one)).is_dir():
            return one
    return "en"
