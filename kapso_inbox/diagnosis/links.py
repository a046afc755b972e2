"""Every stored link: its state, its secret, and whether kapso_sync looks after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache, reduce
from operator import or_

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import clock, conf
from kapso_inbox.encryption import EncryptionError, UnknownKeyError, key_id_of, prefix_of
from kapso_inbox.models import AccessLink, ReasonCode, reason, reason_code

from .findings import Finding, error, info, warning
from .samples import Selection, some_of_each_fault
from .totals import ProjectTotals, SampleLink

_State = AccessLink.State

#: A link that has been in a passing state for less than this is not worth a finding.
LONG = timedelta(minutes=10)
#: kapso_sync is meant to run more often than this.
SYNC_EVERY = timedelta(days=1)

#: The number of rows in memory at a time.
_ROWS = 500


def link_findings(totals: dict[str, ProjectTotals], selection: Selection) -> Iterator[Finding]:
    """Check each stored link: its state, its secret, and the API key that it was created with.

    It reads them row by row, the oldest link first.

    Args:
        totals: filled with what the database holds of each project.
        selection: the links of which embeds are checked.
    """
    rows = AccessLink.objects.for_write().filter(Q(state__in=AccessLink.LIVE) | ~Q(sealed_url=""))
    rows = selection.of(rows, "embed__")
    rows = rows.select_related("embed").order_by("created_at")
    rows, total = some_of_each_fault(rows, "embed__project", _faults(), selection)
    is_complete = selection.takes_all(total)
    fingerprint = cache(_key_fingerprint)
    has_keys = _has_keys()
    for link in rows.iterator(_ROWS):
        own = totals.setdefault(link.embed.project, ProjectTotals())
        if link.state in AccessLink.AT_KAPSO and link.kapso_id:
            _count(own, link, fingerprint(link.embed.project))
        if link.sealed_url or link.state in (_State.ACTIVE, _State.SECRET_LOST):
            yield from _secret_findings(own, link) if has_keys else ()
        yield from _state_findings(link)
        yield from _absence_findings(link)
    for alias, own in totals.items():
        yield from _summary_of_secrets(alias, own, has_keys=has_keys, is_complete=is_complete)


def _faults() -> dict[str, Q]:
    """Return which links have something wrong, by the code of the finding, as far as SQL tells."""
    lately = Q(state_changed_at__range=clock.lately(LONG))
    # As `reason` writes it.
    elsewhere = Q(reason__startswith=reason(ReasonCode.MADE_ELSEWHERE)[:-1])
    unmanaged, revoking = Q(state=_State.UNMANAGED), Q(state=_State.REVOKING)
    keys = conf.keyring().key_ids if _has_keys() else ()
    under_ours = reduce(or_, (Q(sealed_url__startswith=prefix_of(key)) for key in keys), Q())
    return {
        "secret-lost": Q(sealed_url="", state__in=(_State.ACTIVE, _State.SECRET_LOST)),
        "secret-readable-again": Q(state=_State.SECRET_LOST) & ~Q(sealed_url=""),
        "encryption-key-missing": ~Q(sealed_url="") & ~under_ours,
        "link-unknown": Q(state=_State.UNKNOWN),
        "revocation-stuck": revoking & ~lately,
        "revocation-unconfirmed": revoking & lately,
        "creation-stuck": Q(state=_State.CREATING) & ~lately,
        "link-unmanaged": unmanaged & ~elsewhere,
        "link-of-another-deployment": unmanaged & elsewhere,
        "link-missing": Q(absent_at__isnull=False, state__in=AccessLink.AT_KAPSO),
    }


def _count(own: ProjectTotals, link: AccessLink, fingerprint: str) -> None:
    """Add a link that is at Kapso to the totals of its project.

    Args:
        own: the totals of the project.
        link: a link that is not older than those before it.
        fingerprint: the fingerprint of the project's current API key, or "".
    """
    of_other_key = bool(link.key_fingerprint and link.key_fingerprint != fingerprint)
    own.of_other_keys += of_other_key
    if of_other_key or not own.of_other_keys:
        own.sample = SampleLink(link.kapso_id, link.embed.slug, link.state)
    lately = clock.lately(SYNC_EVERY)
    own.has_old_links |= not clock.is_within(link.created_at, lately)
    own.was_seen_lately |= clock.is_within(link.seen_at, lately)


def _secret_findings(own: ProjectTotals, link: AccessLink) -> Iterator[Finding]:
    """Check that the secret can be decrypted with the current encryption keys."""
    slug, project = link.embed.slug, link.embed.project
    lost = link.state == _State.SECRET_LOST
    rotate = _("If nobody has the key, rotate the link: Kapso shows an address only once.")
    try:
        link.reveal_url()
    except UnknownKeyError as failure:
        own.closed += 1
        yield error(
            "encryption-key-missing",
            _(
                "The inbox “%(embed)s” does not open: its secret address is under the encryption "
                "key “%(key)s”, which the settings do not hold."
            )
            % {"embed": slug, "key": failure.key_id},
            _("Put that key back, or restart this process if it was just added.") + " " + rotate,
            project=project,
            embed=slug,
        )
    except EncryptionError:
        own.closed += 1
        if link.sealed_url:
            yield error(
                "secret-unreadable",
                _(
                    "The inbox “%(embed)s” does not open: its secret address cannot be decrypted. "
                    "It was altered, or its encryption key's id now names another key."
                )
                % {"embed": slug},
                _("Put the old key back under its old id.") + " " + rotate,
                project=project,
                embed=slug,
            )
        else:
            yield error(
                "secret-lost",
                _("The inbox “%(embed)s” does not open: its secret address is lost.")
                % {"embed": slug},
                _("Rotate its link: it gets a new one, and the old one is revoked."),
                project=project,
                embed=slug,
            )
    else:
        own.opened += 1
        key_id = key_id_of(link.sealed_url)
        if key_id != conf.keyring().current:
            own.under_older_keys[key_id] += 1
        if lost:
            yield info(
                "secret-readable-again",
                _(
                    "The secret address of the inbox “%(embed)s” was lost, and can be "
                    "decrypted again."
                )
                % {"embed": slug},
                _("The next time somebody opens that inbox, it works."),
                project=project,
                embed=slug,
            )


def _summary_of_secrets(
    alias: str, own: ProjectTotals, *, has_keys: bool, is_complete: bool
) -> Iterator[Finding]:
    if not has_keys:
        yield error(
            "secrets-unchecked",
            _("The encryption keys cannot be used, so no inbox opens."),
            _('Correct KAPSO_INBOX["ENCRYPTION_KEYS"]: see kapso_inbox.E003.'),
            project=alias,
        )
        return
    if not is_complete:
        return  # These numbers are of all.
    if own.opened and not own.closed:
        yield info(
            "secrets-open",
            ngettext(
                "The one stored secret address can be decrypted.",
                "All %(count)d stored secret addresses can be decrypted.",
                own.opened,
            )
            % {"count": own.opened},
            project=alias,
        )
    for key_id, count in own.under_older_keys.items():
        yield info(
            "encryption-key-old",
            ngettext(
                "%(count)d secret address is still under the encryption key “%(key)s”.",
                "%(count)d secret addresses are still under the encryption key “%(key)s”.",
                count,
            )
            % {"count": count, "key": key_id},
            _("Keep that key, or run manage.py kapso_rotate_keys before you remove it."),
            project=alias,
        )


def _state_findings(link: AccessLink) -> Iterator[Finding]:
    """Report a link whose state needs somebody's attention."""
    slug, project = link.embed.slug, link.embed.project
    long = not clock.is_within(link.state_changed_at, clock.lately(LONG))
    names = {"embed": slug, "link": link}
    if link.state == _State.UNMANAGED:
        yield _unmanaged(link)
    elif link.state in AccessLink.UNSETTLED and conf.is_read_only():
        yield info(
            "link-left-alone",
            _("A link of the inbox “%(embed)s” is being created or revoked.") % names,
            _(
                "This deployment is read-only. In the deployment that the inbox belongs "
                "to, kapso_sync will finish it."
            ),
            project=project,
            embed=slug,
        )
    elif link.state == _State.UNKNOWN:
        yield warning(
            "link-unknown",
            _("Kapso may have created a link for the inbox “%(embed)s” that is not known here.")
            % names,
            _("manage.py kapso_sync looks for it and revokes it."),
            project=project,
            embed=slug,
            details=_("In Kapso its name ends in %(link)s.") % names,
        )
    elif link.state == _State.REVOKING:
        what = (
            _(
                "Kapso has not confirmed yet that a link of the inbox “%(embed)s” is "
                "revoked. It may still work."
            )
            % names
        )
        hint = _("Run manage.py kapso_sync, or revoke it in Kapso.")
        details = _(
            "Its ID in Kapso is %(id)s, and if it was created here its name ends in %(link)s."
        ) % {"id": link.kapso_id, "link": link}
        about = {"project": project, "embed": slug, "details": details}
        if long:
            yield error("revocation-stuck", what, hint, **about)
        else:
            yield warning("revocation-unconfirmed", what, hint, **about)
    elif link.state == _State.CREATING and long:
        yield warning(
            "creation-stuck",
            _("The creation of a link for the inbox “%(embed)s” was started and never finished.")
            % names,
            _("manage.py kapso_sync looks for it and revokes it."),
            project=project,
            embed=slug,
            details=_("In Kapso its name ends in %(link)s.") % names,
        )


def _absence_findings(link: AccessLink) -> Iterator[Finding]:
    """Report a link that should be at Kapso, and that its list lacks."""
    if link.absent_at is not None and link.state in AccessLink.AT_KAPSO:
        yield warning(
            "link-missing",
            _(
                "Whether the link of the inbox “%(embed)s” still works is unknown: it was missing "
                "from Kapso's list."
            )
            % {"embed": link.embed.slug},
            _("Run manage.py kapso_sync, which looks again; its report says what to do."),
            project=link.embed.project,
            embed=link.embed.slug,
        )


def _unmanaged(link: AccessLink) -> Finding:
    """Return what it means that a link at Kapso was not made here."""
    names = {"embed": link.embed.slug}
    about = {
        "project": link.embed.project,
        "embed": link.embed.slug,
        "details": _("Its name at Kapso is “%(name)s”.") % {"name": link.embed.name},
    }
    if reason_code(link.reason) != ReasonCode.MADE_ELSEWHERE:
        return warning(
            "link-unmanaged",
            _("The inbox “%(embed)s” works at Kapso and was not created here.") % names,
            _(
                "Anyone who has its address can read conversations. Find out who uses it, "
                "and revoke it if nobody does."
            ),
            **about,
        )
    what = _(
        "The inbox “%(embed)s” works at Kapso. This app created it, but not from this database."
    )
    if conf.is_read_only():
        return info(
            "link-of-another-deployment",
            what % names,
            _(
                "It was created in the deployment that the inbox belongs to. The next copy "
                "of that database will contain it."
            ),
            **about,
        )
    return warning(
        "link-of-another-deployment",
        what % names,
        _(
            "If another deployment has a copy of this database, set READ_ONLY in the copy, or give "
            "it a Kapso project of its own. After a restore from a backup, adopt it."
        ),
        **about,
    )


def sync_findings(totals: dict[str, ProjectTotals]) -> Iterator[Finding]:
    """Check that kapso_sync runs: within a day, a link must have been in Kapso's list."""
    for alias, own in totals.items():
        if own.has_old_links and not own.was_seen_lately:
            yield warning(
                "sync-not-running",
                _("The links have not been compared with Kapso's list for more than a day."),
                _("Run manage.py kapso_sync from cron, for example every 15 minutes."),
                project=alias,
            )


def _has_keys() -> bool:
    try:
        conf.keyring()
    except ImproperlyConfigured:
        return False
    return True


def _key_fingerprint(alias: str) -> str:
    """Return the fingerprint of the project's API key, or "" if it has no usable one."""
    try:
        return conf.project(alias).key_fingerprint
    except (ImproperlyConfigured, AttributeError):  # no key, or a key that is not a text
        return ""
