"""What Kapso itself says to one project's API key. At most two requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.models import AccessLink

from .findings import Finding, about, named
from .stored import Stock

if TYPE_CHECKING:
    from kapso_inbox.kapso import KapsoClient, KapsoError

#: Seconds that our clock may differ from Kapso's. More, and expiry and rate windows go wrong.
MAX_SKEW = 60


def kapso(alias: str, record: Stock, *, network: bool) -> Iterator[Finding]:
    """Whether the project is configured, and how Kapso answers its API key.

    Args:
        alias: the project's.
        record: what is stored of it.
        network: whether Kapso may be asked.
    """
    error, warning, _info = about(alias)
    try:
        configured = conf.project(alias)
    except ConfigurationError:
        yield _without_key(alias, record)
        return
    # Not at import: requests is only loaded in a process that really talks to Kapso.
    from kapso_inbox.kapso.configuration import checked_api_key

    try:
        checked_api_key(configured.api_key)
    except ConfigurationError:
        yield error(
            "api-key-malformed",
            _("The API key cannot be one: it is blank, or holds white space or odd characters."),
            _("Copy it from Kapso once more, as one line and without quotation marks."),
        )
        return
    sure = False
    if network:
        try:
            client = configured.client(tries=1)
        except (ConfigurationError, TypeError, ValueError):
            yield error(
                "project-misconfigured",
                _("Kapso could not be asked: the settings of this project are not in order."),
                _("Put right what the findings that begin with kapso_inbox. say."),
            )
            return
        answers = list(_ask(client, alias, record))
        sure = any(finding.code.startswith("api-key-") for finding in answers)
        yield from answers
        if not any(finding.code == "rate-limit-used-up" for finding in answers):
            yield from _rate_limit(client, alias)
        yield from _clock(client, alias)
    if record.of_other_keys and not sure:
        yield warning(
            "api-key-changed",
            ngettext(
                "%(count)d access link was made with another API key than the one of now.",
                "%(count)d access links were made with another API key than the one of now.",
                record.of_other_keys,
            )
            % {"count": record.of_other_keys},
            _(
                "If the new key is of the same Kapso project, all is well. If not, put the old one "
                "back: without it nobody can revoke those links."
            ),
        )


def _without_key(alias: str, record: Stock) -> Finding:
    error, _warning, _info = about(alias)
    if alias in conf.project_aliases() or alias == conf.DEFAULT_PROJECT or record.embeds:
        texts = {"project": alias, "count": record.embeds}
        what = ngettext(
            "The Kapso project “%(project)s” has no API key; %(count)d inbox belongs to it.",
            "The Kapso project “%(project)s” has no API key; %(count)d inboxes belong to it.",
            record.embeds,
        )
        return error(
            "api-key-missing",
            what % texts,
            _("Create an API key in Kapso and put it into the setting KAPSO_INBOX."),
        )
    return error(
        "project-unknown",
        _("There is no Kapso project “%(project)s” in the settings.") % {"project": alias},
        _("There are: %(projects)s.") % {"projects": named(conf.project_aliases()) or _("none")},
    )


def _ask(client: KapsoClient, alias: str, record: Stock) -> Iterator[Finding]:
    """For an embed of ours, which only the right key sees; without one, for the numbers."""
    from kapso_inbox.kapso import KapsoError, NotFoundError

    error, _warning, info = about(alias)
    try:
        if record.probe is None:
            numbers = _numbers(client)
            yield info(
                "api-key-accepted",
                _("Kapso accepts the API key. It sees these numbers: %(numbers)s.")
                % {"numbers": numbers},
            )
            return
        try:
            embed = client.inbox_embeds.get(record.probe.kapso_id)
        except NotFoundError:
            yield _another_project(client, alias, record)
            return
        yield info(
            "api-key-accepted",
            _("Kapso accepts the API key, and knows the inbox “%(embed)s”.")
            % {"embed": record.probe.slug},
        )
        if embed.status == "revoked" and record.probe.state == AccessLink.State.ACTIVE:
            yield error(
                "link-revoked-at-kapso",
                _("The link of the inbox “%(embed)s” was revoked in Kapso; it does not open.")
                % {"embed": record.probe.slug},
                _(
                    "Run manage.py kapso_sync, which takes that over. Rotate the link if the inbox "
                    "shall open again."
                ),
                embed=record.probe.slug,
            )
    except KapsoError as failure:
        yield _failure(failure, alias)


def _numbers(client: KapsoClient) -> str:
    """The numbers that the key can see, in words; of the first page."""
    page = next(client.phone_numbers.pages(), ())
    numbers = [
        " ".join(filter(None, [number.name, number.display_phone_number])) or number.phone_number_id
        for number in page
    ]
    return named(numbers) or _("none")


def _another_project(client: KapsoClient, alias: str, record: Stock) -> Finding:
    from kapso_inbox.kapso import KapsoError, NotFoundError

    error, _warning, _info = about(alias)
    assert record.probe is not None  # noqa: S101 (who asked for it has it)
    try:
        numbers = _numbers(client)
    except NotFoundError as failure:
        return _failure(failure, alias)
    except KapsoError:
        numbers = _("Kapso did not say")
    return error(
        "api-key-of-another-project",
        _(
            "Kapso does not know the inbox “%(embed)s” under this API key. The key is probably of "
            "another Kapso project; the numbers it sees: %(numbers)s."
        )
        % {"embed": record.probe.slug, "numbers": numbers},
        _(
            "Compare the numbers with those you expect. Put the key of the right project into "
            "KAPSO_INBOX. If the numbers are right, the inbox was deleted in Kapso: rotate its "
            "link."
        ),
        embed=record.probe.slug,
    )


def _failure(failure: KapsoError, alias: str) -> Finding:
    """What a failed request means to an administrator."""
    from kapso_inbox.kapso import (
        CredentialsError,
        NotFoundError,
        RateLimitedError,
        UnreachableError,
    )

    error, warning, _info = about(alias)
    if isinstance(failure, CredentialsError) and failure.code.startswith("cloudflare-"):
        return error(
            "refused-by-cloudflare",
            _("Cloudflare, which stands in front of Kapso, refused the request (%(code)s).")
            % {"code": failure.code},
            _(
                "The API key was not looked at. Ask Kapso's support to let your server's address "
                "through, or look what a proxy of yours does to the User-Agent of requests."
            ),
        )
    if isinstance(failure, CredentialsError):
        return error(
            "api-key-refused",
            _("Kapso refuses the API key (HTTP %(status)s).") % {"status": failure.status},
            _(
                "It was deleted in Kapso, or is none of Kapso's. Create a new one in the same "
                "Kapso project and put it into KAPSO_INBOX."
            ),
        )
    if isinstance(failure, RateLimitedError):
        return warning(
            "rate-limit-used-up",
            _("Kapso takes no more requests with this API key in this minute."),
            _(
                "Look again in a minute. If it stays so, something else uses the same key: give it "
                "one of its own, or ask Kapso for a higher limit."
            ),
        )
    if isinstance(failure, NotFoundError):
        return error(
            "base-url-wrong",
            _("Kapso's API is not at the address in the settings: it answers “not found”."),
            _('Leave KAPSO_INBOX["BASE_URL"] out, or put it right.'),
        )
    if isinstance(failure, UnreachableError):
        return error(
            "kapso-unreachable",
            _("Kapso cannot be reached from this server. %(reason)s.") % {"reason": failure},
            _(
                "Let this server make https connections to the address in BASE_URL. If it needs a "
                "proxy or certificates of its own, name them in PROXIES and CA_BUNDLE: the "
                "environment's are not used."
            ),
        )
    return error(
        "kapso-answer-unclear",
        _("Kapso's answer cannot be used, so nothing is known of the API key. %(reason)s.")
        % {"reason": failure},
        _("Look again in some minutes. If it stays so, ask Kapso's support."),
    )


def _rate_limit(client: KapsoClient, alias: str) -> Iterator[Finding]:
    """What the last answer said of it; not every one does."""
    _error, warning, info = about(alias)
    left = client.received.rate_remaining if client.received else None
    limit = client.received.rate_limit if client.received else None
    if left is None:
        return
    texts = {"left": left, "limit": limit if limit is not None else "?"}
    told = _("Of the requests of this minute %(left)s of %(limit)s are left.") % texts
    if left < (limit or 100) / 10:
        yield warning(
            "rate-limit-low",
            told,
            _("Something else uses the same API key: give it one of its own."),
        )
    else:
        yield info("rate-limit-left", told)


def _clock(client: KapsoClient, alias: str) -> Iterator[Finding]:
    """How our clock goes beside that of the last answer, which need not be one of success."""
    _error, warning, info = about(alias)
    if client.received is None or client.received.date is None:
        return
    skew = (client.received.at - client.received.date).total_seconds()
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
