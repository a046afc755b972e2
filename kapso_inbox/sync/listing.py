"""Kapso's whole list: what it says of our links, and what follows from what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery

from kapso_inbox import audit, conf
from kapso_inbox.clock import is_within, since
from kapso_inbox.kapso import Embed, KapsoError, NotFoundError
from kapso_inbox.lifecycle import BusyError
from kapso_inbox.lifecycle.links import STALE_AFTER, is_of_another
from kapso_inbox.lifecycle.refresh import end_link, save_mirrored, take_over
from kapso_inbox.lifecycle.resolve import is_absent_again, is_uncertain, settle
from kapso_inbox.lifecycle.values import differences, mirror
from kapso_inbox.models import (
    AccessLink,
    AccessLinkQuerySet,
    InboxChange,
    InboxEmbed,
    ReasonCode,
    reason,
    reference_in,
)
from kapso_inbox.transactions import database

from .notes import NoteCode
from .run import Run, until_done

State = AccessLink.State

_MAX_ID = 64
#: How many of the links that a dry run has seen are looked up at a time.
_AT_A_TIME = 500
#: How many of the newest links, and of the oldest, are asked about to recognise a project.
_ASKED = 5
_UNMANAGED = UUID("6f0f5a0e-52a5-5c59-9a6c-52b1c3f6a6d1")


def is_own_project(run: Run) -> bool:
    """Return whether the API key is still one of the project that our links are in.

    This costs requests only if the key, or Kapso's address, is not the one it was. Several links
    are asked about, since any one of them can be gone.

    Raises:
        KapsoError: Kapso could not say.
    """
    live = run.links().filter(state__in=AccessLink.LIVE)
    known = live.exclude(kapso_id="")
    if not known.exists() or live.filter(key_fingerprint=run.fingerprint).exists():
        return True
    newest, oldest = known.order_by("-created_at")[:_ASKED], known.order_by("created_at")[:_ASKED]
    for link in {link.pk: link for link in (*newest, *oldest)}.values():
        try:
            run.client.inbox_embeds.get(link.kapso_id)
        except NotFoundError:
            continue
        run.recognised.add(link.key_fingerprint)
        return True
    if run.accept_missing:
        run.recognised.update(known.order_by().values_list("key_fingerprint", flat=True).distinct())
    return run.accept_missing


def mirror_list(run: Run, on_page: Callable[[int], None] | None) -> None:
    """Mirror Kapso's list page by page; `report.complete` says whether it was read to its end.

    Args:
        run: the sync.
        on_page: called after each page with the number of embeds listed so far.
    """
    try:
        for page in run.client.inbox_embeds.pages():
            _mirror_page(run, page)
            if on_page is not None:
                on_page(run.report.listed)
        run.report.complete = True
    except NotFoundError as error:
        run.problem(NoteCode.LIST_MISSING, status=error.status)
    except KapsoError as error:
        code = NoteCode.LIST_UNFINISHED if run.report.pages else NoteCode.LIST_UNREAD
        run.problem(code, error=error)


def conclude_from_absence(run: Run) -> bool:
    """End the links that the whole list lacks, and settle the uncertain ones among them.

    A list that changes while it is read can lack what exists, and a secret that is wiped for it is
    lost for good. So Kapso is asked about each link, which must be absent again some minutes
    later; and from a list that lacks most of our links nothing is concluded.

    Returns:
        Whether the list can be believed.
    """
    # A link that came into its state while the list was read may have missed its page.
    known = run.links().filter(state__in=AccessLink.KNOWN_BY_ID).select_related("embed")
    known = known.exclude(state_changed_at__range=since(run.started)).exclude(kapso_id="")
    of_this_project = Q(key_fingerprint__in=run.recognised)
    if unproven := _count_missing(run, known.exclude(of_this_project)):
        run.problem(NoteCode.OF_OTHER_KEYS, count=unproven)
    known = known.filter(of_this_project)
    if lacks := _count_missing(run, known):
        if not _may_be_gone(run, lacks, known.count()):
            return False
        _end_what_is_gone(run, known)
    _settle_what_is_absent(run)
    return True


def _missing(run: Run, known: AccessLinkQuerySet) -> Iterator[AccessLinkQuerySet]:
    """Yield those of some links that the list lacks, in one queryset or several."""
    if not run.dry_run:
        yield known.exclude(seen_at__range=since(run.started))
        return
    links = known.select_related(None).only("pk").in_batches(_AT_A_TIME)
    while keys := {link.pk for link in islice(links, _AT_A_TIME)}:
        if missing := keys - run.seen_in_dry_run:
            yield known.filter(pk__in=missing)


def _count_missing(run: Run, known: AccessLinkQuerySet) -> int:
    return sum(links.count() for links in _missing(run, known))


def _may_be_gone(run: Run, lacks: int, holds: int) -> bool:
    """Return whether a list that lacks so many of our links can be believed. If not, say so."""
    if 2 * lacks > holds and not run.accept_missing:
        command = run.accept_command
        run.problem(NoteCode.MANY_MISSING, lacks=lacks, holds=holds, command=command)
        return False
    return True


def _end_what_is_gone(run: Run, known: AccessLinkQuerySet) -> None:
    for link in chain.from_iterable(links.in_batches() for links in _missing(run, known)):
        try:
            why = _why_over(run, link)
        except KapsoError as error:
            slug = link.embed.slug
            run.problem(NoteCode.NOT_ASKED, error=error, link=str(link), embed=slug)
            break
        if why is None:
            continue
        if why == ReasonCode.NOT_FOUND and not run.dry_run and not is_absent_again(link):
            run.report.missing += 1
            # The next list under this key is its project's as well.
            own = AccessLink.objects.for_write().filter(pk=link.pk)
            own.update(key_fingerprint=run.fingerprint)
            continue
        run.report.ended += 1
        if not run.dry_run:
            end_link(link, why, actor=run.actor)


def _settle_what_is_absent(run: Run) -> None:
    uncertain = (
        run.links()
        .filter(
            Q(state=State.UNKNOWN, kapso_id="")
            | Q(state=State.CREATING) & ~Q(state_changed_at__range=since(run.started - STALE_AFTER))
        )
        .exclude(state_changed_at__range=since(run.started))
    )
    # A read-only deployment has seen some of them in the list, and left them.
    uncertain = uncertain.exclude(seen_at__range=since(run.started))
    for link in uncertain.select_related("embed").in_batches():
        _settle(run, link, None)


def _mirror_page(run: Run, page: Sequence[Embed]) -> None:
    """Mirror one page, in a number of queries that does not depend on how many embeds it has."""
    by_id = {embed.id: embed for embed in page if embed.id}
    by_reference = {reference_in(embed.name): embed for embed in page}
    by_reference.pop("", None)
    known = run.links().filter(Q(kapso_id__in=by_id) | Q(reference__in=by_reference, kapso_id=""))
    accounted: set[str] = set()
    seen: list[UUID] = []
    changed: dict[InboxEmbed, dict[str, Any]] = {}
    for link in known.select_related("embed"):
        remote = by_id.get(link.kapso_id) or by_reference[link.reference]
        accounted.add(remote.id)
        seen.append(link.pk)
        if link.kapso_id:
            run.recognised.add(link.key_fingerprint)
            # An embed may have several links on a page, and only its current one speaks for it.
            if old := _compare(run, link, remote):
                changed[link.embed] = old
        else:
            _settle(run, link, remote)
    _note_seen(run, seen)
    _save(run, changed)
    others = [embed for key, embed in by_id.items() if key not in accounted]
    unknown = _on_no_record(run, others)
    if not conf.shares_projects():
        _add_unmanaged(run, unknown)
    run.report.pages += 1
    run.report.listed += len(page)


def _compare(run: Run, link: AccessLink, remote: Embed) -> dict[str, Any]:
    """Act on what Kapso says of a link known by its ID; return what it changes in its embed.

    Returns:
        The name of each field to be saved -> its old value.
    """
    if remote.status == "revoked":
        if link.state in AccessLink.KNOWN_BY_ID:
            run.report.ended += 1
            if not run.dry_run:
                end_link(link, ReasonCode.FOUND_REVOKED, actor=run.actor)
        return {}
    if link.state in (State.REVOKED, State.FAILED, State.UNKNOWN):
        if conf.is_read_only():
            run.left_alive += 1
            return {}
        # It works, and should not. (This does not mean what was revoked while the list was read.)
        if not run.dry_run and not is_within(link.state_changed_at, since(run.started)):
            alive = reason(ReasonCode.FOUND_ALIVE)
            link.move(State.REVOKING, expected=[State(link.state)], reason=alive)
        return {}
    embed = link.embed
    if embed.current_link_id != link.pk or link.state == State.REVOKING:
        return {}  # what is kept for the next link must not be changed by this one
    if is_within(embed.updated_at, since(run.started)):
        return {}  # what was changed while the list was read is newer than the list
    created_here = link.state != State.UNMANAGED
    if created_here and (found := differences(embed, remote)):
        run.problem(NoteCode.SHOWS_OTHERS, embed=embed.slug, differences=found)
    if run.dry_run:
        return mirror(embed, remote, created_here=created_here)
    return take_over(embed, link, remote, actor=run.actor)


def _note_seen(run: Run, seen: Sequence[UUID]) -> None:
    if run.dry_run:
        run.seen_in_dry_run.update(seen)
    elif seen:
        # Seen under this key: from now on its word counts for them. Never set the time back, since
        # another sync, begun later, draws conclusions from it. And no join here: a process that has
        # waited for another's write checks again a condition on the row, but not one on a subquery
        # (seen on PostgreSQL 15).
        links = AccessLink.objects.for_write().filter(pk__in=seen).order_by("pk")
        links = links.exclude(seen_at__range=since(run.started))
        news = {"seen_at": run.started, "absent_at": None, "key_fingerprint": run.fingerprint}
        until_done(lambda: links.update(**news))


def _save(run: Run, changed: Mapping[InboxEmbed, Mapping[str, Any]]) -> None:
    run.report.updated += len(changed)
    if changed and not run.dry_run:
        until_done(partial(save_mirrored, changed, actor=run.actor))


def _on_no_record(run: Run, remotes: Sequence[Embed]) -> list[Embed]:
    """Return those of Kapso's embeds that are on record under no alias. Count the others."""
    if not remotes:
        return []
    references = {reference_in(remote.name) for remote in remotes} - {""}
    known = AccessLink.objects.for_write().filter(
        Q(kapso_id__in=[remote.id for remote in remotes]) | Q(reference__in=references, kapso_id="")
    )
    elsewhere: dict[str, str] = {}
    for kapso_id, reference, alias in known.values_list("kapso_id", "reference", "embed__project"):
        elsewhere[kapso_id or reference] = alias
    unknown: list[Embed] = []
    for remote in remotes:
        stored_under = elsewhere.get(remote.id) or elsewhere.get(reference_in(remote.name))
        if stored_under is None:
            unknown.append(remote)
        else:
            run.elsewhere[stored_under] += 1
    return unknown


def _add_unmanaged(run: Run, remotes: Sequence[Embed]) -> None:
    """Show embeds that were created elsewhere, as unmanaged.

    Their primary keys are made from Kapso's IDs, so that two syncs at once agree.
    """
    alive = [r for r in remotes if r.status == "active" and len(r.id) <= _MAX_ID]
    if not alive:
        return
    run.report.unmanaged += len(alive)
    if run.dry_run:
        return
    # In one order, so that two syncs at once wait for each other and never deadlock.
    slugs = {f"kapso-{r.id}"[:50]: r for r in sorted(alive, key=lambda remote: remote.id)}
    embeds = [InboxEmbed(slug=slug, project=run.report.project) for slug in slugs]
    for embed, remote in zip(embeds, slugs.values(), strict=True):
        mirror(embed, remote, created_here=False)
        embed.name = embed.name or remote.id

    def write() -> None:
        with transaction.atomic(using=database()):
            run.embeds().bulk_create(embeds, ignore_conflicts=True)
            found = [
                AccessLink(
                    id=uuid5(_UNMANAGED, f"{run.report.project}:{slugs[embed.slug].id}"),
                    embed=embed,
                    kapso_id=slugs[embed.slug].id,
                    state=State.UNMANAGED,
                    key_fingerprint=run.fingerprint,
                    seen_at=run.started,
                    reason=_made_elsewhere(slugs[embed.slug]),
                )
                # Read again: with ignore_conflicts, no database tells which rows it created.
                for embed in run.embeds().filter(slug__in=slugs).order_by("slug")
            ]
            AccessLink.objects.for_write().bulk_create(found, ignore_conflicts=True)
            _record_found(run, found)
            own = AccessLink.objects.filter(embed=OuterRef("pk"), state=State.UNMANAGED)
            run.embeds().filter(slug__in=slugs, current_link=None).update(
                current_link=Subquery(own.values("pk")[:1])
            )

    until_done(write)


def _record_found(run: Run, found: Sequence[AccessLink]) -> None:
    """Record the links that this sync has added, and not those that another one was faster with."""
    links = AccessLink.objects.for_write().select_related("embed")
    added = links.filter(pk__in=[link.pk for link in found], seen_at=run.started).order_by("pk")
    InboxChange.objects.for_write().bulk_create(
        audit.change_of(
            InboxChange.Action.FOUND,
            link.embed,
            link_id=link.pk,
            actor=run.actor,
            details=link.reason or reason(ReasonCode.FOUND_UNMANAGED),
        )
        for link in added
    )


def _made_elsewhere(remote: Embed) -> str:
    """Return the reason of an unmanaged link that this app made, but not from this database."""
    reference = reference_in(remote.name)
    return reason(ReasonCode.MADE_ELSEWHERE, reference=reference) if reference else ""


def _why_over(run: Run, link: AccessLink) -> ReasonCode | None:
    """Ask Kapso about a link that its list lacks; return why it is over, or None if it works."""
    try:
        answer = run.client.inbox_embeds.get(link.kapso_id)
    except NotFoundError:
        return ReasonCode.NOT_FOUND
    return ReasonCode.FOUND_REVOKED if answer.status == "revoked" else None


def _settle(run: Run, link: AccessLink, remote: Embed | None) -> None:
    if run.dry_run:
        run.report.settled += remote is not None
        return
    if remote is not None and remote.status != "revoked" and not is_of_another(link, remote.id):
        if conf.is_read_only():
            run.left_alive += 1
            return
        # Kapso did it, and something between Kapso and us said no.
        link.move(State.UNKNOWN, expected=[State.FAILED], reason=reason(ReasonCode.FOUND_ALIVE))
    try:
        if not is_uncertain(link):
            return
    except BusyError:
        return
    settle(link, remote, proven=run.is_proven(link), actor=run.actor)
    run.report.settled += link.state != State.UNKNOWN
