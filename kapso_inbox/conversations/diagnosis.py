"""What is wrong with the webhooks of a project, for the doctor and the health page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta

from django.core.cache import cache
from django.db.models import Count, Max, Min, Q
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from kapso_inbox import conf
from kapso_inbox.clock import is_stamped_within, lately, stamp
from kapso_inbox.diagnosis.findings import (
    AdminPage,
    Finding,
    info,
    list_in_words,
    warning,
    without_secrets,
)
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoError
from kapso_inbox.reasons import format_time

from .models import Conversation, WebhookDelivery
from .secrets import webhook_secrets
from .sync import DELIVERIES_KEPT
from .webhooks import Registered, is_served_here, path_of, read_webhooks

_Outcome = WebhookDelivery.Outcome

#: If Kapso's list has a conversation that was active so much later than the last delivery, webhooks
#: are missing.
SILENT_FOR = timedelta(hours=1)


def _page(hint: str) -> AdminPage:
    """Return the page of the webhooks, for those who have no shell.

    Args:
        hint: what to do there.
    """
    return AdminPage("kapso_conversations_webhooks", _("Webhooks at Kapso"), hint)


def webhook_findings(project: str, *, network: bool, remembered_for: int = 0) -> Iterator[Finding]:
    """Check that the webhooks of a project arrive.

    Args:
        project: the alias of the project.
        network: whether Kapso may be asked.
        remembered_for: the seconds for which Kapso's answers are kept; 0 = they are not kept.
    """
    if not webhook_secrets(project):
        return  # a system check says so
    for finding in _findings(project, network, remembered_for):
        yield replace(finding, project=project)


def _findings(project: str, network: bool, remembered_for: int) -> Iterator[Finding]:
    yield from _delivery_findings(project)
    if network:
        yield from _remembered(project, remembered_for)


def _delivery_findings(project: str) -> Iterator[Finding]:
    """Report what arrived, and whether a message came of which no webhook told.

    A message proves that only if a webhook could have told of it, and if that would be on record
    still. So it has to be `SILENT_FOR` later than all of these:

    - the last delivery;
    - the first conversation that this site stored: the first sync brings what people wrote before;
    - what `kapso_sync` has already deleted of the record of deliveries.
    """
    deliveries = WebhookDelivery.objects.filter(project=project)
    accepted = ~Q(outcome=_Outcome.REFUSED)
    last = deliveries.aggregate(
        accepted=Max("received_at", filter=accepted),
        refused=Max("received_at", filter=~accepted),
    )
    stored = Conversation.objects.filter(project=project).aggregate(
        active=Max("last_active_at"), first=Min("created_at")
    )
    if last["refused"] and (not last["accepted"] or last["accepted"] < last["refused"]):
        yield warning(
            "webhook-signatures-refused",
            _("A webhook arrived at %(time)s whose signature is not this project's.")
            % {"time": format_time(last["refused"])},
            _(
                "Give Kapso the secret of this site: manage.py kapso_webhooks --set. If another "
                "project's webhook leads here, correct its address at Kapso."
            ),
            page=_page(
                _(
                    "Open “Webhooks at Kapso”, and press “Create or update” there: it gives Kapso "
                    "the secret of this site. If another project's webhook leads here, correct its "
                    "address at Kapso."
                )
            ),
        )
    oldest = timezone.now() - DELIVERIES_KEPT
    told_since = max(filter(None, (last["accepted"], stored["first"], oldest)))
    if stored["active"] and stored["active"] > told_since + SILENT_FOR:
        yield warning(
            "webhooks-silent",
            _("The last message arrived at %(time)s, but no webhook told this site about it.")
            % {"time": format_time(stored["active"])},
            _(
                "Run: manage.py kapso_webhooks. It says which webhook is missing or paused. Until "
                "then, badges are as old as the last kapso_sync."
            ),
            page=_page(
                _(
                    "“Webhooks at Kapso” shows which webhook is missing or paused. Until it is "
                    "fixed, badges are as old as the last kapso_sync."
                )
            ),
        )
    elif last["accepted"]:
        text = _("At %(time)s the last webhook arrived.")
        yield info("webhooks-arrive", text % {"time": format_time(last["accepted"])})
    unrecognised = deliveries.filter(
        outcome=_Outcome.UNRECOGNISED, received_at__range=lately(timedelta(days=7))
    )
    for row in unrecognised.values("event", "keys").annotate(count=Count("pk")).order_by("event"):
        yield info(
            "webhook-not-recognised",
            _("%(count)d deliveries of “%(event)s” were not recognised. Their fields: %(keys)s.")
            % {"count": row["count"], "event": row["event"] or "-", "keys": row["keys"] or "-"},
            _("Nothing is lost: the next kapso_sync reads the conversations. Upgrade the package."),
        )


def _remembered(project: str, remembered_for: int) -> Iterator[Finding]:
    try:
        configured = conf.project(project)
        key = f"kapso_inbox:webhooks:{configured.key_fingerprint}:{get_language()}"
        kept_at, kept = cache.get(key, (None, []))
        if not remembered_for or not is_stamped_within(kept_at, remembered_for):
            registered = list(read_webhooks(project, configured.client(tries=1)))
            found = _registered_findings(project, registered)
            kept = [asdict(without_secrets(one)) for one in found]
            if remembered_for:
                cache.set(key, (stamp(), kept), remembered_for)
    except (KapsoError, ConfigurationError, TypeError, ValueError):
        return  # what is wrong with Kapso or the key is a finding of its own
    yield from (Finding(**one) for one in kept)


def _registered_findings(project: str, registered: list[Registered]) -> Iterator[Finding]:
    mend = _("Run: manage.py kapso_webhooks --set https://crm.example.com")
    page = _page(_("Open “Webhooks at Kapso”, and press “Create or update” there."))
    missing = [one.place.name for one in registered if one.webhook is None]
    if missing:
        yield warning(
            "webhooks-missing",
            _("For %(names)s: Kapso has no webhook with the path %(path)s.")
            % {"path": path_of(project), "names": list_in_words(missing)},
            mend,
            page=page,
        )
    for one in registered:
        if one.webhook is None:
            continue
        said = {"name": one.place.name, "address": one.webhook.url}
        if not is_served_here(one.webhook.url):
            text = _("The webhook of %(name)s leads to %(address)s, which is not this site.")
            hint = _("If that is another deployment's, there is nothing to do.")
            yield info("webhook-elsewhere", text % said, hint)
        elif not one.webhook.active:
            yield warning(
                "webhook-paused",
                _("Kapso has paused the webhook of %(name)s, because deliveries failed.") % said,
                mend,
                page=page,
            )
        elif one.missing_events:
            yield warning(
                "webhook-events-missing",
                _("The webhook of %(name)s does not deliver: %(events)s.")
                % {**said, "events": list_in_words(one.missing_events)},
                mend,
                page=page,
            )
