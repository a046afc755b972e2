"""Bringing the CRM and Kapso into agreement: at a launch one link, in `kapso_sync` all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError, OperationalError, router, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from . import audit, conf
from .models import AccessLink, InboxChange, InboxEmbed, reference_in

if TYPE_CHECKING:
    # At run time not at import: requests is only loaded in a process that really talks to Kapso.
    from .kapso import Embed, KapsoClient

logger = logging.getLogger(__name__)

State = AccessLink.State

#: A launch waits no longer than this for Kapso's word: seconds for the connection and for the
#: answer, and for both with their repetitions.
_PATIENCE = {"timeout": (0.4, 0.6), "deadline": 1.0}

#: A sync waits for Kapso's rate limit no longer than this, in seconds and in all.
RATE_LIMIT_PATIENCE = 300

#: Who stands in the record for what a sync did.
ACTOR = "kapso_sync"

_TRIES = 5
_BATCH = 100
_MAX_ID = 64
_UNMANAGED = UUID("6f0f5a0e-52a5-5c59-9a6c-52b1c3f6a6d1")
_KNOWN_BY_ID: tuple[AccessLink.State, ...] = (
    State.ACTIVE,
    State.SECRET_LOST,
    State.UNMANAGED,
    State.REVOKING,
)


@sensitive_variables()
def verify(embed: InboxEmbed, *, at_once: bool = False) -> bool:
    """Ask Kapso whether the embed's current link still lives, if nobody did lately.

    Of many launches at once one asks. Without an answer within a second the link is taken to live:
    Kapso's own page says otherwise soon enough.

    Args:
        embed: with an active current link; both get what Kapso answered, here and in the database.
        at_once: ask also where somebody did lately; still never where the host wants it never.

    Returns:
        Whether Kapso was asked and has answered: what the embed says now is Kapso's own word.
    """
    link = embed.current_link
    interval = conf.value("VERIFY_AFTER")
    now = timezone.now()
    if link is None or not interval:
        return False
    lately = link.checked_at and link.checked_at > now - timedelta(seconds=interval)
    if lately and not at_once:
        return False
    links = AccessLink.objects.using(router.db_for_write(AccessLink, instance=link))
    try:
        if links.filter(pk=link.pk, checked_at=link.checked_at).update(checked_at=now):
            return _ask_about(embed, link)
    except DatabaseError:
        logger.exception("What Kapso says of access link %s could not be written down.", link)
    return False


@sensitive_variables()
def _ask_about(embed: InboxEmbed, link: AccessLink) -> bool:
    from .kapso import ConfigurationError, KapsoError
    from .lifecycle.values import mirror

    try:
        client = conf.project(embed.project).client(**_PATIENCE)
        answer = client.inbox_embeds.get(link.kapso_id)
    except (KapsoError, ConfigurationError, ImproperlyConfigured) as error:
        # A 404 as well: Kapso keeps what it revoked, so one proves nothing, and a secret that is
        # wiped for it is lost for good. A sync sees the whole list.
        logger.warning("Access link %s could not be verified: %s", link, error)
        return False
    if answer.status == "revoked":
        _found_gone(link, "Found revoked at Kapso.")
        return True
    _save_mirrored(embed, link, mirror(embed, answer))
    return True


def _save_mirrored(embed: InboxEmbed, link: AccessLink, changed: Sequence[str]) -> None:
    """Write down what an answer changed, unless the link that it is of was replaced meanwhile."""
    if changed:
        embeds = InboxEmbed.objects.using(router.db_for_write(InboxEmbed))
        embeds.filter(pk=embed.pk, current_link=link).update(
            **{name: getattr(embed, name) for name in changed}
        )


@sensitive_variables()
def refresh_embed(embed: InboxEmbed, *, actor: Any = None) -> InboxEmbed:
    """Take over what Kapso says of one embed now: by its current link, in one request.

    Args:
        embed: it is read again from the database.
        actor: the user who asks for it, for the record.

    Returns:
        The embed as Kapso has it; its link `revoked` where Kapso says so. One without a link that
        Kapso knows is returned as it is, without a request.

    Raises:
        InsideTransactionError: there is a transaction around the call; nothing was done.
        KapsoError: Kapso could not be asked, or knows nothing of it under this key. Nothing was
            changed here: a 404 proves nothing, since Kapso keeps what it revoked.
    """
    from .lifecycle.links import embeds, refuse_inside_transaction
    from .lifecycle.values import mirror

    refuse_inside_transaction()
    embed = embeds().get(pk=embed.pk)
    link = embed.current_link
    if link is None or link.state not in _KNOWN_BY_ID:
        return embed
    answer = conf.project(embed.project).client().inbox_embeds.get(link.kapso_id)
    if answer.status == "revoked":
        _found_gone(link, "Found revoked at Kapso.", actor=actor)
    elif link.state != State.REVOKING:
        _save_mirrored(embed, link, mirror(embed, answer))
    return embeds().get(pk=embed.pk)


def _found_gone(link: AccessLink, reason: str, *, actor: Any = None) -> bool:
    """Take a link for over that Kapso says is over."""
    from .lifecycle.links import move_on_record

    over = {"expected": _KNOWN_BY_ID, "reason": reason, "sealed_url": ""}
    entry = InboxChange.Action.FOUND, reason
    if not move_on_record(link, State.REVOKED, entry, actor=actor, **over):
        return False
    logger.warning("Access link %s: %s", link, reason)
    return True


@dataclass
class SyncReport:
    """What a sync found and did; with `dry_run`, what it would have done.

    Attributes:
        project: the alias of the Kapso project.
        dry_run: whether nothing was written, here or at Kapso.
        complete: whether Kapso's whole list was seen.
        listed: embeds in it.
        pages: pages of it.
        updated: embeds here whose mirror changed.
        unmanaged: embeds found at Kapso that were not made here, the first time they are seen.
        ended: links found revoked at Kapso, or gone from its list.
        settled: uncertain links of which it is now known what became of them.
        revoked: links that Kapso revoked on our behalf now.
        renewed: links that were about to expire and have a successor.
        pruned: rows of the record that were too old.
        waiting: uncertain links that a later sync has to look for again.
        problems: what somebody should look at, in words.
    """

    project: str
    dry_run: bool = False
    complete: bool = False
    listed: int = 0
    pages: int = 0
    updated: int = 0
    unmanaged: int = 0
    ended: int = 0
    settled: int = 0
    revoked: int = 0
    renewed: int = 0
    pruned: int = 0
    waiting: int = 0
    problems: list[str] = field(default_factory=list)


@sensitive_variables()
def sync_project(
    project: str = conf.DEFAULT_PROJECT,
    dry_run: bool = False,
    *,
    on_page: Callable[[int], None] | None = None,
    patience: float = RATE_LIMIT_PATIENCE,
) -> SyncReport:
    """Make the CRM and one Kapso project agree again.

    Mirrors Kapso's whole list, finds out what became of uncertain links, goes on with revocations,
    renews links within `RENEW_BEFORE` of their expiry, and prunes the record after `AUDIT_DAYS`.
    What fails is told in the report and left for the next time. Several at once do no harm.

    Args:
        project: its alias.
        dry_run: only look.
        on_page: called after each page with the number of embeds listed so far.
        patience: seconds for which Kapso's rate limit is waited for, in all; 0 in a web request.

    Returns:
        What was found and done.

    Raises:
        InsideTransactionError: there is a transaction around the call; nothing was done.
        ImproperlyConfigured, ConfigurationError: there is no such project, or its key or address
            cannot be used.
        DatabaseError: what was found could not be written down; the next one begins anew.
    """
    from .lifecycle.links import refuse_inside_transaction

    refuse_inside_transaction()
    client = conf.project(project).client(patience=patience)
    return _Sync(project, client, dry_run, on_page).run()


class _Sync:
    """One run. Holds no more than a page of Kapso's list, but for the ids of ours in a dry run."""

    def __init__(
        self,
        project: str,
        client: KapsoClient,
        dry_run: bool,
        on_page: Callable[[int], None] | None,
    ) -> None:
        self.client = client
        self.dry_run = dry_run
        self.on_page = on_page
        self.report = SyncReport(project, dry_run)
        self.started = timezone.now()
        self.fingerprint = conf.project(project).key_fingerprint
        #: Fingerprints of the keys whose links stood in the list, or would: a link is proven to be
        #: gone, or never to have been, by the list of the project that it was asked of.
        self.recognised = {self.fingerprint}
        self._seen_in_dry_run: set[UUID] = set()

    def run(self) -> SyncReport:
        from .kapso import KapsoError

        try:
            if not self._is_own_project():
                self._problem(
                    "Kapso knows none of our embeds under this API key: it is another project's. "
                    "Nothing was done."
                )
                return self.report
        except KapsoError as error:
            # Not even what is left to do: it would be done in another project.
            self._problem(
                f"Whether this API key is still our project's, Kapso could not say: {error}. "
                "Nothing was done."
            )
            return self.report
        try:
            for page in self.client.inbox_embeds.pages():
                self._mirror(page)
            self.report.complete = True
        except KapsoError as error:
            self._problem(f"Kapso's list could not be read to its end: {error}.")
        if self.report.complete:
            self._end_what_is_gone()
            self._settle_what_is_absent()
        self._go_on_with_revocations()
        self._renew()
        self._prune()
        self._count_what_waits()
        return self.report

    def _is_own_project(self) -> bool:
        """Say whether the key is still one of the project that our links are in.

        Costs a request only where the key is another one than it was.
        """
        live = self._links().filter(state__in=AccessLink.LIVE)
        newest = live.exclude(kapso_id="").order_by("-created_at").first()
        if newest is None or live.filter(key_fingerprint=self.fingerprint).exists():
            return True
        from .kapso import NotFoundError

        try:
            self.client.inbox_embeds.get(newest.kapso_id)
        except NotFoundError:
            return False
        self.recognised.add(newest.key_fingerprint)
        return True

    # What Kapso lists

    def _mirror(self, page: Sequence[Embed]) -> None:
        """Take over one page: so many queries, however many embeds are on it."""
        by_id = {embed.id: embed for embed in page if embed.id}
        by_reference = {reference_in(embed.name): embed for embed in page}
        by_reference.pop("", None)
        known = self._links().filter(
            Q(kapso_id__in=by_id) | Q(reference__in=by_reference, kapso_id="")
        )
        accounted: set[str] = set()
        seen: list[UUID] = []
        changed: dict[InboxEmbed, list[str]] = {}
        for link in known.select_related("embed"):
            remote = by_id.get(link.kapso_id) or by_reference[link.reference]
            accounted.add(remote.id)
            seen.append(link.pk)
            if link.kapso_id:
                self.recognised.add(link.key_fingerprint)
                # An embed may have several links on a page, and only its current one speaks for it.
                if names := self._compare(link, remote):
                    changed[link.embed] = names
            else:
                self._settle(link, remote)
        self._note_seen(seen)
        self._save(changed)
        self._add_unmanaged([embed for key, embed in by_id.items() if key not in accounted])
        self.report.pages += 1
        self.report.listed += len(page)
        if self.on_page is not None:
            self.on_page(self.report.listed)

    def _compare(self, link: AccessLink, remote: Embed) -> list[str]:
        """Act on what Kapso says of a link known by its id; return what its embed now has anew."""
        if remote.status == "revoked":
            if link.state in _KNOWN_BY_ID:
                self.report.ended += 1
                if not self.dry_run:
                    _found_gone(link, "Found revoked at Kapso.", actor=ACTOR)
            return []
        if link.state in (State.REVOKED, State.FAILED, State.UNKNOWN):
            # It lives, and should not. (What was revoked while the list was read is not meant.)
            if not self.dry_run and link.state_changed_at < self.started:
                reason = "Found alive at Kapso."
                link.move(State.REVOKING, expected=[State(link.state)], reason=reason)
            return []
        embed = link.embed
        if embed.current_link_id != link.pk or link.state == State.REVOKING:
            return []  # what is kept for the next link is not for this one to change
        if embed.updated_at > self.started:
            return []  # what was changed while the list was read is newer than the list
        from .lifecycle.values import mirror

        return mirror(embed, remote)

    def _note_seen(self, seen: Sequence[UUID]) -> None:
        if self.dry_run:
            self._seen_in_dry_run.update(seen)
        elif seen:
            # Seen under this key: from now on its word counts for them. Never backwards: another
            # sync, begun later, concludes from it what it has not seen itself. So no join here: who
            # has waited for the other's write looks again at a condition on the row, and not at a
            # subquery (seen on PostgreSQL 15).
            not_since = Q(seen_at=None) | Q(seen_at__lt=self.started)
            links = AccessLink.objects.using(self._using()).filter(not_since, pk__in=seen)
            links = links.order_by("pk")
            _until_done(
                lambda: links.update(seen_at=self.started, key_fingerprint=self.fingerprint)
            )

    def _save(self, changed: Mapping[InboxEmbed, list[str]]) -> None:
        self.report.updated += len(changed)
        if changed and not self.dry_run:
            # Each embed gets what changed of it: of the rest, something newer may stand there.
            alike: dict[tuple[str, ...], list[InboxEmbed]] = {}
            for embed, names in changed.items():
                alike.setdefault(tuple(names), []).append(embed)
            for fields, embeds in alike.items():
                _until_done(partial(self._embeds().bulk_update, embeds, fields))

    def _add_unmanaged(self, remotes: Sequence[Embed]) -> None:
        """Make what was made elsewhere visible. Its keys come from Kapso's id: two syncs agree."""
        alive = [r for r in remotes if r.status == "active" and len(r.id) <= _MAX_ID]
        if not alive:
            return
        self.report.unmanaged += len(alive)
        if self.dry_run:
            return
        from .lifecycle.values import mirror

        # In one order, so that two syncs at once wait for each other and never for ever.
        slugs = {f"kapso-{r.id}"[:50]: r for r in sorted(alive, key=lambda remote: remote.id)}
        embeds = [InboxEmbed(slug=slug, project=self.report.project) for slug in slugs]
        for embed, remote in zip(embeds, slugs.values(), strict=True):
            mirror(embed, remote)
            embed.name = embed.name or remote.id

        def write() -> None:
            with transaction.atomic(using=self._using()):
                self._embeds().bulk_create(embeds, ignore_conflicts=True)
                links = [
                    AccessLink(
                        id=uuid5(_UNMANAGED, f"{self.report.project}:{slugs[embed.slug].id}"),
                        embed=embed,
                        kapso_id=slugs[embed.slug].id,
                        state=State.UNMANAGED,
                        key_fingerprint=self.fingerprint,
                        seen_at=self.started,
                    )
                    # Read again: with ignore_conflicts, no database tells which rows it made.
                    for embed in self._embeds().filter(slug__in=slugs).order_by("slug")
                ]
                AccessLink.objects.using(self._using()).bulk_create(links, ignore_conflicts=True)
                own = AccessLink.objects.filter(embed=OuterRef("pk"), state=State.UNMANAGED)
                self._embeds().filter(slug__in=slugs, current_link=None).update(
                    current_link=Subquery(own.values("pk")[:1])
                )

        _until_done(write)

    # What follows from a whole list

    def _end_what_is_gone(self) -> None:
        """Take links for over that the list lacks, if Kapso says the same when asked for each.

        A list that shifts while it is read can lack what lives, and a secret that is wiped for it
        is lost for good.
        """
        from .kapso import KapsoError

        # What came into its state while the list was read may have missed its page.
        missing = self._links().filter(state__in=_KNOWN_BY_ID, state_changed_at__lt=self.started)
        missing = missing.exclude(kapso_id="").select_related("embed")
        if self.dry_run:
            missing = missing.exclude(pk__in=self._seen_in_dry_run)
        else:
            missing = missing.filter(Q(seen_at=None) | Q(seen_at__lt=self.started))
        unproven = 0
        for link in _in_batches(missing):
            if not self._is_proven(link):
                unproven += 1
                continue
            try:
                reason = self._why_over(link)
            except KapsoError as error:
                self._problem(
                    f"{link} of {link.embed.slug!r} is not in Kapso's list, and Kapso could not be "
                    f"asked for it: {error}. Nothing was concluded from it."
                )
                break
            if not reason:
                continue
            self.report.ended += 1
            if not self.dry_run:
                _found_gone(link, reason, actor=ACTOR)
        if unproven:
            self._problem(
                f"{unproven} links that were made under another API key do not stand in Kapso's "
                "list. Perhaps that key is another project's; nothing was concluded from it."
            )

    def _why_over(self, link: AccessLink) -> str:
        """Ask Kapso for a link that its list lacks; return why it is over, "" where it lives."""
        from .kapso import NotFoundError

        try:
            answer = self.client.inbox_embeds.get(link.kapso_id)
        except NotFoundError:
            return "Not at Kapso any more."
        return "Found revoked at Kapso." if answer.status == "revoked" else ""

    def _settle_what_is_absent(self) -> None:
        from .lifecycle.links import STALE_AFTER

        uncertain = self._links().filter(
            Q(state=State.UNKNOWN, kapso_id="")
            | Q(state=State.CREATING, state_changed_at__lte=self.started - STALE_AFTER)
        )
        for link in uncertain.filter(state_changed_at__lt=self.started).select_related("embed"):
            self._settle(link, None)

    def _settle(self, link: AccessLink, remote: Embed | None) -> None:
        from .lifecycle import BusyError
        from .lifecycle.resolve import is_uncertain, settle

        if self.dry_run:
            self.report.settled += remote is not None
            return
        if remote is not None and remote.status != "revoked":
            # Kapso did it, and something between it and us said no.
            reason = "Found alive at Kapso."
            link.move(State.UNKNOWN, expected=[State.FAILED], reason=reason)
        try:
            if not is_uncertain(link):
                return
        except BusyError:
            return
        settle(link, remote, proven=self._is_proven(link), actor=ACTOR)
        self.report.settled += link.state != State.UNKNOWN

    def _is_proven(self, link: AccessLink) -> bool:
        """Say whether this list is the one of the project that the link was asked of."""
        return link.key_fingerprint in self.recognised

    # What is left to do

    def _go_on_with_revocations(self) -> None:
        from .kapso import KapsoError, NotFoundError
        from .lifecycle import links

        for link in self._links().filter(state=State.REVOKING).select_related("embed"):
            if not self.dry_run:
                try:
                    links.revoke(link, self.client, reason=link.reason)
                except KapsoError as error:
                    self._problem(f"{link} of {link.embed.slug!r} is not revoked yet: {error}.")
                    if not isinstance(error, NotFoundError):
                        return  # it is about Kapso and not about this link
                    continue
            self.report.revoked += 1

    def _renew(self) -> None:
        """Give a link that is about to expire a successor that lives as long as it did.

        Not before half of its life is over: one that lives no longer than `RENEW_BEFORE` would be
        renewed each time.
        """
        from .kapso import KapsoError
        from .lifecycle import BusyError, LifecycleError, ReplacedError, RevokedError, links

        before = conf.value("RENEW_BEFORE")
        if not before:
            return
        now = timezone.now()
        due = self._embeds().filter(
            project=self.report.project,
            current_link__state=State.ACTIVE,
            expires_at__gt=now,
            expires_at__lte=now + timedelta(seconds=before),
        )
        for pk in list(due.values_list("pk", flat=True)):
            # Read again: each takes a while, and somebody may have revoked or renewed the next one.
            embed = due.select_related("current_link").filter(pk=pk).first()
            link = embed.current_link if embed else None
            if embed is None or link is None or embed.expires_at is None:
                continue
            lifetime = embed.expires_at - link.created_at
            if embed.expires_at - lifetime / 2 > now:
                continue
            if not self.dry_run:
                try:
                    links.replace(
                        embed,
                        actor=ACTOR,
                        expires_at=_whole(now + lifetime),
                        newest=links.newest_link(embed),
                        revive=False,
                    )
                except (BusyError, ReplacedError, RevokedError):
                    continue  # somebody came first
                except (
                    KapsoError,
                    LifecycleError,
                    ValidationError,
                    ImproperlyConfigured,
                ) as error:
                    self._problem(f"The link of {embed.slug!r} could not be renewed: {error}.")
                    if isinstance(error, (KapsoError, ImproperlyConfigured)):
                        return  # it is about Kapso or the settings, and not about this link
                    continue
            self.report.renewed += 1

    def _prune(self) -> None:
        days = conf.value("AUDIT_DAYS")
        if days and not self.dry_run:
            self.report.pruned = audit.prune(self.started - timedelta(days=days))

    def _count_what_waits(self) -> None:
        waiting = self._links().filter(state=State.UNKNOWN)
        self.report.waiting = waiting.count()
        unclear = waiting.filter(created_at__lt=self.started - timedelta(hours=1)).count()
        if unclear:
            self._problem(
                f"Of {unclear} links it is not known since more than an hour whether they live at "
                "Kapso. Look there for their references, at the end of the name."
            )

    def _problem(self, text: str) -> None:
        logger.warning("Sync of the project %r: %s", self.report.project, text)
        self.report.problems.append(text)

    def _using(self) -> str:
        return router.db_for_write(InboxEmbed)

    def _embeds(self) -> QuerySet[InboxEmbed]:
        return InboxEmbed.objects.using(self._using())

    def _links(self) -> QuerySet[AccessLink]:
        links = AccessLink.objects.using(self._using())
        return links.filter(embed__project=self.report.project).order_by("pk")


def _until_done(write: Callable[[], object]) -> None:
    """Write what may be written twice.

    Two syncs that write the same rows can meet in a deadlock (seen on MariaDB 10.11). The database
    then ends one of the two, and that one begins again.
    """
    for _ in range(_TRIES - 1):
        try:
            write()
        except OperationalError as error:
            logger.info("A write of the sync is begun again: %s", type(error).__name__)
        else:
            return
    write()


def _in_batches(links: QuerySet[AccessLink]) -> Iterator[AccessLink]:
    """Iterate over links, some at a time: on SQLite, who still reads cannot wait to write."""
    last: UUID | None = None
    while batch := list((links.filter(pk__gt=last) if last else links).order_by("pk")[:_BATCH]):
        yield from batch
        last = batch[-1].pk


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
