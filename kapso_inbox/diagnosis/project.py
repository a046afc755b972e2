"""How Kapso answers to one project's API key. At most two requests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace

from django.core.cache import cache
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from kapso_inbox import conf
from kapso_inbox.clock import is_stamped_within, stamp
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoClient, KapsoError, NotFoundError
from kapso_inbox.kapso.configuration import checked_api_key
from kapso_inbox.meanings import fill_in, meaning_of
from kapso_inbox.models import AccessLink

from .findings import Finding, error, info, list_in_words, warning, without_secrets
from .totals import ProjectTotals, SampleLink

#: The seconds that our clock may differ from Kapso's. With more, links expire at the wrong time,
#: and the minutes of the rate limit do not match.
MAX_SKEW = 60


def kapso_findings(
    alias: str, own: ProjectTotals, *, network: bool, remembered_for: int = 0
) -> Iterator[Finding]:
    """Check that the project is configured, and that Kapso accepts its API key.

    Args:
        alias: the alias of the project.
        own: what the database holds of the project.
        network: whether Kapso may be asked.
        remembered_for: the seconds for which Kapso's answers are kept; 0 = they are not kept.
    """
    for finding in _project_findings(alias, own, network, remembered_for):
        yield replace(finding, project=alias)


def _project_findings(
    alias: str, own: ProjectTotals, network: bool, remembered_for: int
) -> Iterator[Finding]:
    try:
        configured = conf.project(alias)
    except ConfigurationError:
        yield _without_key(alias, own)
        return
    try:
        checked_api_key(configured.api_key)
    except ConfigurationError:
        yield error(
            "api-key-malformed",
            _("The API key is not valid: it is blank, or contains white space or odd characters."),
            _("Copy it from Kapso once more, as one line and without quotation marks."),
        )
        return
    key_was_judged = False
    if network:
        try:
            client = configured.client(tries=1)
        except (ConfigurationError, TypeError, ValueError):
            yield error(
                "project-misconfigured",
                _("Kapso could not be asked: the settings of this project are not valid."),
                _("Fix the findings whose codes begin with kapso_inbox."),
            )
            return
        # What is asked depends on the key and the sample, and the texts on the language.
        asked = repr((configured.key_fingerprint, own.sample, get_language()))
        key = f"kapso_inbox:findings:{hashlib.sha256(asked.encode()).hexdigest()}"
        kept_at, answers = cache.get(key, (None, [])) if remembered_for else (None, [])
        if not is_stamped_within(kept_at, remembered_for):
            answers = [asdict(without_secrets(one)) for one in _answers(client, own.sample)]
            if remembered_for:
                cache.set(key, (stamp(), answers), remembered_for)
        key_was_judged = any(answer["code"].startswith("api-key-") for answer in answers)
        yield from (Finding(**answer) for answer in answers)
    if own.of_other_keys and not key_was_judged:
        yield warning(
            "api-key-changed",
            ngettext(
                "%(count)d access link was created with another API key than the current one.",
                "%(count)d access links were created with another API key than the current one.",
                own.of_other_keys,
            )
            % {"count": own.of_other_keys},
            _(
                "If both keys belong to the same Kapso project, there is nothing to do. "
                "Otherwise put the old key back: without it nobody can revoke those "
                "links."
            ),
        )


def _without_key(alias: str, own: ProjectTotals) -> Finding:
    if alias in conf.project_aliases() or alias == conf.DEFAULT_PROJECT or own.embeds:
        texts = {"project": alias, "count": own.embeds}
        what = ngettext(
            "The Kapso project “%(project)s” has no API key; %(count)d inbox belongs to it.",
            "The Kapso project “%(project)s” has no API key; %(count)d inboxes belong to it.",
            own.embeds,
        )
        return error(
            "api-key-missing",
            what % texts,
            _("Create an API key in Kapso and put it into the setting KAPSO_INBOX."),
        )
    return error(
        "project-unknown",
        _("KAPSO_INBOX has no project “%(project)s”.") % {"project": alias},
        _("Its projects: %(projects)s.")
        % {"projects": list_in_words(conf.project_aliases()) or _("none")},
    )


def _answers(client: KapsoClient, sample: SampleLink | None) -> Iterator[Finding]:
    """Return what Kapso's answers say of the API key, of its rate limit, and of our clock."""
    answers = list(_ask(client, sample))
    yield from answers
    if not any(finding.code == "rate-limit-used-up" for finding in answers):
        yield from _rate_limit(client)
    yield from _clock(client)


def _ask(client: KapsoClient, sample: SampleLink | None) -> Iterator[Finding]:
    """Ask for a link of ours, which only the right key sees; without one, for the numbers."""
    try:
        if sample is None:
            numbers = _numbers(client)
            yield info(
                "api-key-accepted",
                _("Kapso accepts the API key, which sees these numbers (%(numbers)s).")
                % {"numbers": numbers},
            )
            return
        try:
            embed = client.inbox_embeds.get(sample.kapso_id)
        except NotFoundError:
            yield _another_project(client, sample)
            return
        yield info(
            "api-key-accepted",
            _("Kapso accepts the API key, and knows the inbox “%(embed)s”.")
            % {"embed": sample.slug},
        )
        if embed.status == "revoked" and sample.state == AccessLink.State.ACTIVE:
            yield error(
                "link-revoked-at-kapso",
                _("The link of the inbox “%(embed)s” was revoked in Kapso; it does not open.")
                % {"embed": sample.slug},
                _(
                    "Run manage.py kapso_sync, which stores that here. Rotate the link if "
                    "the inbox should open again."
                ),
                embed=sample.slug,
            )
    except KapsoError as failure:
        yield _failure(failure)


def _numbers(client: KapsoClient) -> str:
    """Return the numbers on the first page that the API key can see, in words."""
    page = next(client.phone_numbers.pages(), ())
    numbers = [
        " ".join(filter(None, [number.name, number.display_phone_number])) or number.phone_number_id
        for number in page
    ]
    return list_in_words(numbers) or _("none")


def _another_project(client: KapsoClient, sample: SampleLink) -> Finding:
    """Return what it means that Kapso does not know a link under this API key."""
    try:
        numbers = _numbers(client)
    except NotFoundError as failure:
        return _failure(failure)
    except KapsoError:
        numbers = _("Kapso did not say")
    return error(
        "api-key-of-another-project",
        _(
            "Kapso does not know the inbox “%(embed)s” under this API key. The key "
            "probably belongs to another Kapso project: it sees these numbers (%(numbers)s)."
        )
        % {"embed": sample.slug, "numbers": numbers},
        _(
            "Compare the numbers with those you expect. Put the key of the right project into "
            "KAPSO_INBOX. If the numbers are right, the inbox was deleted in Kapso: rotate its "
            "link."
        ),
        embed=sample.slug,
    )


def _failure(failure: KapsoError) -> Finding:
    """Return what a failed request means to an administrator."""
    meaning = meaning_of(failure)
    return Finding(
        meaning.finding,
        meaning.level,
        fill_in(meaning.found, failure),
        fill_in(meaning.hint, failure),
        details=fill_in(meaning.details, failure),
    )


def _rate_limit(client: KapsoClient) -> Iterator[Finding]:
    """Report the rate limit, if the last answer has it. Not every answer does."""
    left = client.received.rate_remaining if client.received else None
    limit = client.received.rate_limit if client.received else None
    if left is None:
        return
    texts = {"left": left, "limit": limit if limit is not None else "?"}
    what_is_left = _("%(left)s of %(limit)s requests are left in this minute.") % texts
    if left < (limit or 100) / 10:
        yield warning(
            "rate-limit-low",
            what_is_left,
            _("Something else uses the same API key: give it one of its own."),
        )
    else:
        yield info("rate-limit-left", what_is_left)


def _clock(client: KapsoClient) -> Iterator[Finding]:
    """Compare our clock with that of the last answer, be it a success or an error."""
    if client.received is None or client.received.skew is None:
        return
    skew = client.received.skew.total_seconds()
    texts = {"seconds": round(abs(skew))}
    if abs(skew) <= MAX_SKEW:
        yield info("clock-right", _("This server's clock agrees with Kapso's."))
        return
    yield warning(
        "clock-wrong",
        _("This server's clock is %(seconds)d seconds ahead of Kapso's.") % texts
        if skew > 0
        else _("This server's clock is %(seconds)d seconds behind Kapso's.") % texts,
        _("Set the clock by NTP: otherwise links expire at the wrong time."),
    )
