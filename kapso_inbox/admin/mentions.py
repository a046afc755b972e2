"""Texts of other parts of this app, with links to what they mention."""

from __future__ import annotations

import re
from itertools import cycle

from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from kapso_inbox.meanings import SEE_HEALTH_PAGE
from kapso_inbox.models import InboxEmbed

from .pages import page_url
from .policy import PolicyModelAdmin

#: What a text names: an embed by its slug or its name, or anything else.
MENTION = re.compile("“([^“”]*)”")


def link_embeds(model_admin: PolicyModelAdmin, text: str, *embeds: InboxEmbed) -> SafeString:
    """Return a text with each mention of these embeds, by slug or by name, as a link by its name.

    Args:
        model_admin: whose page it is.
        text: the text, which has embeds between quotation marks.
        embeds: the embeds that it may mention, all visible to the reader.
    """
    known = {key: embed for embed in embeds for key in (embed.name, embed.slug)}
    # Every second part is what the pattern's group found.
    mentioned = [
        format_html('“<a href="{}">{}</a>”', page_url(model_admin, "change", found.pk), found.name)
        if is_quoted and (found := known.get(part))
        else format_html("“{}”" if is_quoted else "{}", part)
        for is_quoted, part in zip(cycle([False, True]), MENTION.split(text), strict=False)
    ]
    return format_html_join("", "{}", ((part,) for part in mentioned))


def link_health_page(model_admin: PolicyModelAdmin, request: HttpRequest, text: str) -> str:
    """Return a text whose sentence about the health page leads there, if the user may see it.

    Args:
        model_admin: whose page it is.
        request: the current request.
        text: the text, without HTML.
    """
    sentence = str(SEE_HEALTH_PAGE)
    before, found, after = text.partition(sentence)
    if not found or not model_admin.has_view_permission(request):
        return text
    address = page_url(model_admin, "health")
    return format_html('{}<a href="{}">{}</a>{}', before, address, sentence, after)
