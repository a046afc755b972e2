"""What is stored: every link and its secret, every embed. Reads only, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf
from kapso_inbox.encryption import EncryptionError, UnknownKeyError, key_id_of
from kapso_inbox.models import SOON, AccessLink, InboxEmbed

from . import origins
from .findings import Finding, about, error, info, named

State = AccessLink.State

#: Less than this in a state that is meant to pass says nothing.
LONG = timedelta(minutes=10)
#: kapso_sync is meant to run more often than this.
SYNC_EVERY = timedelta(days=1)

#: So many are in memory at a time.
_ROWS = 500


@dataclass(frozen=True)
class Probe:
    """A link that Kapso can be asked about."""

    kapso_id: str
    slug: str
    state: str


@dataclass
class Stock:
    """What is stored of one Kapso project, in sum.

    Attributes:
        embeds: how many there are.
        of_other_keys: how many links at Kapso another API key made.
        probe: the link that tells most about the key: the newest one of another key, else the
            newest one.
        has_old_links: whether a link has been at Kapso for longer than `SYNC_EVERY`.
        seen_at: when one last stood in Kapso's list.
        opened: how many secrets open.
        closed: how many do not.
        under_older_keys: id of an encryption key that is not the first -> secrets under it.
    """

    embeds: int = 0
    of_other_keys: int = 0
    probe: Probe | None = None
    has_old_links: bool = False
    seen_at: datetime | None = None
    opened: int = 0
    closed: int = 0
    under_older_keys: Counter[str] = field(default_factory=Counter)


def tables() -> Iterator[Finding]:
    """Whether the database answers, and has the tables of this version."""
    connection = connections[_using()]
    try:
        executor = MigrationExecutor(connection)
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes("kapso_inbox"))
        present = connection.introspection.table_names()
    except (Error, ImproperlyConfigured) as failure:
        yield error(
            "database-unreachable",
            # Without its text, which can hold a user and a password.
            _("The database does not answer (%(kind)s).") % {"kind": type(failure).__name__},
            _("Look at DATABASES in the settings, and whether the database runs."),
        )
        return
    wanted = {AccessLink._meta.db_table, InboxEmbed._meta.db_table}
    if behind or not wanted <= set(present):
        yield error(
            "not-migrated",
            _("The database has no tables for the inboxes yet, or those of an older version."),
            _("Run manage.py migrate."),
        )


def links(records: dict[str, Stock], wanted: list[str] | None) -> Iterator[Finding]:
    """Every stored link: its state, whether its secret opens, and which API key made it.

    One query, row by row.

    Args:
        records: filled with what there is, by project.
        wanted: aliases of the projects to look at; None = all.
    """
    rows = AccessLink.objects.using(_using()).filter(
        Q(state__in=AccessLink.LIVE) | ~Q(sealed_url="")
    )
    if wanted is not None:
        rows = rows.filter(embed__project__in=wanted)
    now = timezone.now()
    fingerprint = cache(_key_fingerprint)
    has_keys = _has_keys()
    for link in rows.select_related("embed").order_by("created_at").iterator(_ROWS):
        record = records.setdefault(link.embed.project, Stock())
        if link.state in AccessLink.AT_KAPSO and link.kapso_id:
            _note(record, link, now, fingerprint(link.embed.project))
        if link.sealed_url or link.state in (State.ACTIVE, State.SECRET_LOST):
            yield from _secret(record, link) if has_keys else ()
        yield from _state(link, now)
    for alias, record in records.items():
        yield from _secrets_in_sum(alias, record, has_keys=has_keys)


def _note(record: Stock, link: AccessLink, now: datetime, fingerprint: str) -> None:
    of_other_key = bool(link.key_fingerprint and link.key_fingerprint != fingerprint)
    record.of_other_keys += of_other_key
    if of_other_key or not record.of_other_keys:
        record.probe = Probe(link.kapso_id, link.embed.slug, link.state)
    record.has_old_links |= link.created_at < now - SYNC_EVERY
    if link.seen_at and (record.seen_at is None or link.seen_at > record.seen_at):
        record.seen_at = link.seen_at


def _secret(record: Stock, link: AccessLink) -> Iterator[Finding]:
    """Whether the secret opens under the keys of now."""
    slug, lost = link.embed.slug, link.state == State.SECRET_LOST
    make_error, _make_warning, make_info = about(link.embed.project)
    rotate = _("If nobody has it, rotate the link: Kapso tells no address twice.")
    try:
        link.reveal_url()
    except UnknownKeyError as failure:
        record.closed += 1
        yield make_error(
            "encryption-key-missing",
            _(
                "The inbox “%(embed)s” does not open: its secret address is under the encryption "
                "key “%(key)s”, which the settings do not hold."
            )
            % {"embed": slug, "key": failure.key_id},
            _('Put that key back into KAPSO_INBOX["ENCRYPTION_KEYS"].') + " " + rotate,
            embed=slug,
        )
    except EncryptionError:
        record.closed += 1
        if link.sealed_url:
            yield make_error(
                "secret-unreadable",
                _(
                    "The inbox “%(embed)s” does not open: its secret address cannot be decrypted. "
                    "It was altered, or its encryption key's id now names another key."
                )
                % {"embed": slug},
                _("Put the old key back under its old id.") + " " + rotate,
                embed=slug,
            )
        else:
            yield make_error(
                "secret-lost",
                _("The inbox “%(embed)s” does not open: its secret address is lost.")
                % {"embed": slug},
                _("Rotate its link: it gets a new one, and Kapso ends the old one."),
                embed=slug,
            )
    else:
        record.opened += 1
        key_id = key_id_of(link.sealed_url)
        if key_id != conf.keyring().current:
            record.under_older_keys[key_id] += 1
        if lost:
            yield make_info(
                "secret-readable-again",
                _("The secret address of the inbox “%(embed)s” was lost and opens again.")
                % {"embed": slug},
                _("The next time somebody opens that inbox, it works."),
                embed=slug,
            )


def _secrets_in_sum(alias: str, record: Stock, *, has_keys: bool) -> Iterator[Finding]:
    make_error, _make_warning, make_info = about(alias)
    if not has_keys:
        yield make_error(
            "secrets-unchecked",
            _("The encryption keys cannot be used, so no inbox opens."),
            _('Put KAPSO_INBOX["ENCRYPTION_KEYS"] right: see kapso_inbox.E003.'),
        )
        return
    if record.opened and not record.closed:
        yield make_info(
            "secrets-open",
            ngettext(
                "The one stored secret address can be decrypted.",
                "All %(count)d stored secret addresses can be decrypted.",
                record.opened,
            )
            % {"count": record.opened},
        )
    for key_id, count in record.under_older_keys.items():
        yield make_info(
            "encryption-key-old",
            ngettext(
                "%(count)d secret address is still under the encryption key “%(key)s”.",
                "%(count)d secret addresses are still under the encryption key “%(key)s”.",
                count,
            )
            % {"count": count, "key": key_id},
            _("Keep that key, or run manage.py kapso_rotate_keys before you remove it."),
        )


def _state(link: AccessLink, now: datetime) -> Iterator[Finding]:
    """Whether the link is in a state that somebody has to look at."""
    slug = link.embed.slug
    make_error, warning, _make_info = about(link.embed.project)
    long = link.state_changed_at < now - LONG
    names = {"embed": slug, "link": link}
    if link.state == State.UNMANAGED:
        yield warning(
            "link-unmanaged",
            _("“%(name)s” lives at Kapso and was not made here (%(embed)s).")
            % {"name": link.embed.name, "embed": slug},
            _(
                "Whoever has its address reads conversations. Find out who uses it; revoke it if "
                "nobody does."
            ),
            embed=slug,
        )
    elif link.state == State.UNKNOWN:
        yield warning(
            "link-unknown",
            _("Kapso may have made a link for the inbox “%(embed)s” that is not known here.")
            % names,
            _("manage.py kapso_sync looks for it and ends it. In Kapso its name ends in %(link)s.")
            % names,
            embed=slug,
        )
    elif link.state == State.REVOKING and long:
        yield make_error(
            "revocation-stuck",
            _(
                "A link of the inbox “%(embed)s” was to be revoked, and Kapso has not confirmed "
                "it. It may still work."
            )
            % names,
            _(
                "Run manage.py kapso_sync, or revoke it in Kapso. Its id there is %(id)s, and if "
                "it was made here its name ends in %(link)s."
            )
            % {"id": link.kapso_id, "link": link},
            embed=slug,
        )
    elif link.state == State.CREATING and long:
        yield warning(
            "creation-stuck",
            _("A link for the inbox “%(embed)s” was begun and never finished.") % names,
            _("manage.py kapso_sync looks for it and ends it. In Kapso its name ends in %(link)s.")
            % names,
            embed=slug,
        )


def embeds(records: dict[str, Stock], wanted: list[str] | None) -> Iterator[Finding]:
    """Every embed: whether it opens, until when, and which pages may show it.

    One query, row by row, and one for the sites where `django.contrib.sites` is installed.

    Args:
        records: filled with how many there are, by project.
        wanted: aliases of the projects to look at; None = all.
    """
    rows = InboxEmbed.objects.using(_using()).select_related("current_link").order_by("slug")
    if wanted is not None:
        rows = rows.filter(project__in=wanted)
    now = timezone.now()
    here = origins.of_this_site()
    active = total = 0
    for embed in rows.iterator(_ROWS):
        total += 1
        records.setdefault(embed.project, Stock()).embeds += 1
        link = embed.current_link
        if link is not None and link.state == State.ACTIVE:
            active += 1
            yield from _expiry(embed, now)
            yield from _personal(embed)
            yield from _origins(embed, here)
        else:
            yield from _without_link(embed)
    if not total and wanted is None:
        yield info("no-embeds", _("There is no inbox yet."), _("Create one."))
    if active and not here:
        yield info(
            "site-unknown",
            _("Where this site lives is not known, so allowed origins could not be compared."),
            _("Name its host in ALLOWED_HOSTS, or its origin in CSRF_TRUSTED_ORIGINS."),
        )


def _without_link(embed: InboxEmbed) -> Iterator[Finding]:
    make_error, _make_warning, make_info = about(embed.project)
    link = embed.current_link
    if link is None or link.state not in AccessLink.LIVE | {State.REVOKED}:
        yield make_error(
            "embed-without-link",
            _("The inbox “%(embed)s” does not open: it has no working link.")
            % {"embed": embed.slug},
            _("Rotate its link, which makes a new one; look why that failed before."),
            embed=embed.slug,
        )
    elif link.state in (State.REVOKING, State.REVOKED):
        yield make_info(
            "embed-revoked",
            _("The inbox “%(embed)s” is revoked; pages that show it say so.")
            % {"embed": embed.slug},
            _("Take it out of those pages, or rotate its link to bring it back."),
            embed=embed.slug,
        )


def _personal(embed: InboxEmbed) -> Iterator[Finding]:
    """Whether somebody's own inbox is still narrowed to what is assigned to them."""
    make_error, _make_warning, _make_info = about(embed.project)
    if embed.personal_to and not embed.assigned_user_id:
        yield make_error(
            "embed-not-narrowed",
            _(
                "The inbox “%(embed)s” opens for nobody: it is one person's own, and at Kapso it "
                "is not narrowed to a team member any more."
            )
            % {"embed": embed.slug},
            _("Revoke it and delete its record. That person then sets up their own inbox again."),
            embed=embed.slug,
        )


def _expiry(embed: InboxEmbed, now: datetime) -> Iterator[Finding]:
    if embed.expires_at is None:
        return
    _make_error, warning, _make_info = about(embed.project)
    local = timezone.localtime(embed.expires_at) if settings.USE_TZ else embed.expires_at
    when = date_format(local, "Y-m-d H:i")
    texts = {"embed": embed.slug, "when": when}
    renews_before = conf.duration("RENEW_BEFORE")
    if embed.expires_at <= now:
        yield warning(
            "link-expired",
            _("The inbox “%(embed)s” does not open: its link expired at %(when)s.") % texts,
            _("Change its expiry, or revoke it if it is not wanted any more."),
            embed=embed.slug,
        )
    elif embed.expires_at <= now + SOON:
        if renews_before and embed.expires_at > now + renews_before:
            return  # kapso_sync renews it in time
        yield warning(
            "link-expires-soon",
            _("The link of the inbox “%(embed)s” expires at %(when)s.") % texts,
            _("manage.py kapso_sync should have renewed it: look whether it runs.")
            if renews_before
            else _(
                'Give it a later expiry, or let kapso_sync renew it: KAPSO_INBOX["RENEW_BEFORE"].'
            ),
            embed=embed.slug,
        )


def _origins(embed: InboxEmbed, here: list[origins.Origin]) -> Iterator[Finding]:
    """Which pages may show the inbox. Kapso has browsers enforce it."""
    make_error, warning, _make_info = about(embed.project)
    listed = embed.allowed_origins if isinstance(embed.allowed_origins, list) else []
    allowed = [origin for origin in listed if isinstance(origin, str)]
    texts = {"embed": embed.slug, "origins": named(allowed), "site": named(map(str, here))}
    narrow = _("Give it the origins of this site alone, such as https://crm.example.com.")
    if not allowed or "*" in allowed:
        yield warning(
            "origins-any" if allowed else "origins-none",
            _("Any page of the web may show the inbox “%(embed)s”: its allowed origins are “*”.")
            % texts
            if allowed
            else _("Any page of the web may show the inbox “%(embed)s”: it has no allowed origins.")
            % texts,
            narrow,
            embed=embed.slug,
        )
        return
    local = [origin for origin in allowed if origins.is_local(origins.host_of(origin))]
    if local and not settings.DEBUG:
        yield warning(
            "origins-local",
            _(
                "The inbox “%(embed)s” may be shown by %(local)s, which is the machine of whoever "
                "looks at it."
            )
            % {**texts, "local": named(local)},
            _("Take it out: it was meant for development."),
            embed=embed.slug,
        )
    if here and not any(origins.covers(one, site) for one in allowed for site in here):
        yield make_error(
            "origins-miss-site",
            _(
                "The inbox “%(embed)s” stays blank on this site: it may be shown by %(origins)s, "
                "and this site is %(site)s."
            )
            % texts,
            _("Add the origin of this site to its allowed origins."),
            embed=embed.slug,
        )


def synchronisation(records: dict[str, Stock]) -> Iterator[Finding]:
    """Whether kapso_sync runs: by when a link last stood in Kapso's list."""
    since = timezone.now() - SYNC_EVERY
    for alias, record in records.items():
        if record.has_old_links and (record.seen_at is None or record.seen_at < since):
            _make_error, warning, _make_info = about(alias)
            yield warning(
                "sync-not-running",
                _("For more than a day nobody has compared the links with Kapso's list."),
                _("Have cron run manage.py kapso_sync, every quarter of an hour for example."),
            )


def _using() -> str:
    return router.db_for_write(InboxEmbed)


def _has_keys() -> bool:
    try:
        conf.keyring()
    except ImproperlyConfigured:
        return False
    return True


def _key_fingerprint(alias: str) -> str:
    try:
        return conf.project(alias).key_fingerprint
    except (ImproperlyConfigured, AttributeError):  # none, or no text
        return ""
