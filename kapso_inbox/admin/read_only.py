"""What the page of an embed shows of it in words, where nobody can change it there."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox.models import InboxEmbed, Language, Mode

from . import descriptions
from .policy import PolicyModelAdmin

#: What is shown in a form and cannot be changed there: the last four only where nothing can be, and
#: the slug only of a user's own embed.
AS_THEY_ARE = (
    "slug_as_it_is",
    "scope_as_it_is",
    "expires",
    "readers_as_they_are",
    "sites_as_they_are",
    "theme_as_it_is",
    "language_as_it_is",
)


class ReadOnlyModelAdmin(PolicyModelAdmin):
    """A ModelAdmin for embeds with the fields that are only shown."""

    @admin.display(description=gettext_lazy("Slug"))
    def slug_as_it_is(self, embed: InboxEmbed) -> str:
        """Return the slug of a user's own embed, and why it cannot be changed."""
        reason = _("This cannot be changed: the inbox of a user is found by its slug.")
        return format_html('{}<br><span class="kapso-reason">{}</span>', embed.slug, reason)

    @admin.display(description=gettext_lazy("Who may open it"))
    def readers_as_they_are(self, embed: InboxEmbed) -> str:
        """Return who may open the embed, for those who may not change it."""
        return descriptions.describe_readers(embed)

    @admin.display(description=gettext_lazy("Allowed origins"))
    def sites_as_they_are(self, embed: InboxEmbed) -> str:
        """Return the sites that may show the embed, one per line."""
        if descriptions.is_open_to_any_site(embed):
            return _("Any site")
        return "\n".join(map(str, embed.allowed_origins))

    @admin.display(description=gettext_lazy("Theme"))
    def theme_as_it_is(self, embed: InboxEmbed) -> str:
        """Return the name of the embed's theme."""
        return descriptions.label_in(Mode, embed.default_mode)

    @admin.display(description=gettext_lazy("Language"))
    def language_as_it_is(self, embed: InboxEmbed) -> str:
        """Return the name of the embed's language."""
        return descriptions.label_in(Language, embed.language) or _("Kapso's default")

    @admin.display(description=gettext_lazy("Shows"))
    def scope_as_it_is(self, embed: InboxEmbed) -> str:
        """Return whose conversations the embed shows, and why that cannot be changed."""
        reason = _("This cannot be changed. To show another number or customer, add another inbox.")
        shown = descriptions.describe_scope(embed)
        return format_html('{}<br><span class="kapso-reason">{}</span>', shown, reason)
