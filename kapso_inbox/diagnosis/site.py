"""What the settings say about this app and the site around it. No query, no request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks as django_checks
from django.core.checks import CheckMessage
from django.utils.translation import gettext as _

from kapso_inbox import checks, conf
from kapso_inbox.lifecycle import ReadOnlyError
from kapso_inbox.meanings import MEANINGS
from kapso_inbox.origins import covers, parse_origin

from .findings import Finding, error, info, list_in_words, warning
from .permissions import permissions_policy_findings
from .this_site import origins_in_settings

#: Code of a finding that needs neither Kapso nor the database -> ID of its system check.
CHECK_IDS = {
    "delivery-direct": "kapso_inbox.W002",
    "fetch-metadata-off": "kapso_inbox.W003",
    "csp-blocks": "kapso_inbox.W004",
    "csp-would-block": "kapso_inbox.W005",
    "coep-blocks": "kapso_inbox.W006",
    "permissions-policy-withholds": "kapso_inbox.W020",
}

_EMBEDDER_POLICY_SETTINGS = ("SECURE_CROSS_ORIGIN_EMBEDDER_POLICY", "CROSS_ORIGIN_EMBEDDER_POLICY")


def settings_findings() -> Iterator[Finding]:
    """Run the system checks of the setting KAPSO_INBOX, as in a deployment."""
    return _from_checks([*checks.malformed_settings(), *checks.missing_settings()])


def urlconf_findings() -> Iterator[Finding]:
    """Run the system checks of the URLconf, as in a deployment."""
    return _from_checks(checks.missing_urls() or checks.check_urls())


def host_findings() -> Iterator[Finding]:
    """Run the system checks of the host's users, databases, tenants and templates."""
    return _from_checks(checks.check_host())


def check_site(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return what the settings of the site do to the inbox, as system checks for deployment.

    Each is a warning, which a host can silence: the views that show an inbox may have another
    policy.
    """
    found = (
        *delivery_findings(),
        *csp_findings(),
        *embedder_policy_findings(),
        *permissions_policy_findings(),
    )
    return [
        django_checks.Warning(finding.what, hint=finding.hint, id=CHECK_IDS[finding.code])
        for finding in found
        if finding.code in CHECK_IDS
    ]


def _from_checks(messages: Iterable[CheckMessage]) -> Iterator[Finding]:
    for message in messages:
        make = error if message.level >= django_checks.ERROR else warning
        yield make(message.id or "", str(message.msg), str(message.hint or ""))


def deployment_findings() -> Iterator[Finding]:
    """Say so if this deployment changes nothing at Kapso."""
    if conf.is_read_only():
        meaning = MEANINGS[ReadOnlyError]
        yield info(meaning.finding, str(meaning.found), str(meaning.hint))


def delivery_findings() -> Iterator[Finding]:
    """Check that no page holds a secret address, and that only frames may launch an inbox."""
    if conf.delivery() == "direct":
        yield warning(
            "delivery-direct",
            _(
                "The secret address of each inbox is in the source of the pages that show "
                "it, where every script and browser extension can read it."
            ),
            _('Remove KAPSO_INBOX["DELIVERY"], unless launches cannot work on this site.'),
        )
    elif conf.value("REQUIRE_FETCH_METADATA") is False:
        yield warning(
            "fetch-metadata-off",
            _(
                "A launch is answered no matter who asks, so a script on a page of this "
                "site could read the secret address."
            ),
            _(
                'Remove KAPSO_INBOX["REQUIRE_FETCH_METADATA"], unless the site is on '
                "plain http or must serve browsers from before 2023."
            ),
        )


def https_findings() -> Iterator[Finding]:
    """Check, in production, that the settings say that the site is on https."""
    if settings.DEBUG or settings.SECURE_SSL_REDIRECT:
        return
    if settings.SECURE_PROXY_SSL_HEADER:
        return
    yield info(
        "https-unknown",
        _("The settings do not say whether this site is on https."),
        _(
            "If it is, there is nothing to do. On plain http no inbox opens, because "
            "browsers do not say there that a request comes from a frame. See "
            "SECURE_SSL_REDIRECT and SECURE_PROXY_SSL_HEADER in Django's documentation."
        ),
    )


@dataclass(frozen=True)
class _Policy:
    """A Content Security Policy in the settings."""

    setting: str
    directives: Mapping[str, Any]
    enforced: bool = True
    omits_empty: bool = False

    def frames(self) -> tuple[str, list[str]] | None:
        """Return the directive that applies to frames and its sources, or None if none applies."""
        for name in ("frame-src", "child-src", "default-src"):
            value = self.directives.get(name)
            # Neither Django nor django-csp sends a directive that is switched off.
            if value is None or value is False:
                continue
            if self.omits_empty and not value:
                continue
            parts = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
            return name, " ".join(str(part) for part in parts).split()
        return None


def csp_findings() -> Iterator[Finding]:
    """Check that the site's own policy, if the settings hold one, lets the frame load.

    Browsers check both hops of a launch (measured in Chromium 156): this site, and the inbox.
    """
    allowed = blocked = False
    # If the page holds the address itself, there is no hop over this site.
    own = ["'self'"] if conf.delivery() == "launch" else []
    needed = [*own, *conf.inbox_origins()]
    for policy in _policies():
        frames = policy.frames()
        missing = [one for one in needed if not is_covered(one, frames[1])] if frames else []
        if not missing or not frames:
            allowed = allowed or policy.enforced
            continue
        texts = {
            "setting": policy.setting,
            "directive": frames[0],
            "missing": list_in_words(missing),
        }
        hint = _("frame-src in %(setting)s has to hold at least: %(needed)s") % {
            "setting": policy.setting,
            "needed": " ".join(needed),
        }
        if not policy.enforced:
            yield warning(
                "csp-would-block",
                _(
                    "The Content Security Policy on trial in %(setting)s would block the inbox: "
                    "its %(directive)s lacks %(missing)s."
                )
                % texts,
                hint,
            )
            continue
        blocked = True
        make = error if _is_sent() else warning
        yield make(
            "csp-blocks",
            _(
                "The Content Security Policy in %(setting)s blocks the inbox: its %(directive)s "
                "lacks %(missing)s. The frame stays blank."
            )
            % texts,
            hint,
        )
    if allowed and not blocked:
        yield info("csp-allows", _("The site's Content Security Policy lets the inbox load."))


def is_covered(needed: str, sources: list[str]) -> bool:
    """Return whether the sources of a directive include an inbox's origin, or `'self'`."""
    if needed != "'self'":
        origin = parse_origin(needed)
        return origin is not None and any(covers(source, origin) for source in sources)
    if any(source in ("'self'", "*", "http:", "https:") for source in sources):
        return True
    here = origins_in_settings()
    return any(covers(source, site) for source in sources for site in here)


def _policies() -> Iterator[_Policy]:
    """Yield the policies of Django (6.0 and later) and of django-csp (version 4, otherwise 3)."""
    found = False
    for setting, enforced in (("SECURE_CSP", True), ("SECURE_CSP_REPORT_ONLY", False)):
        directives = getattr(settings, setting, None)
        if isinstance(directives, Mapping) and directives:
            found = True
            yield _Policy(setting, directives, enforced, omits_empty=True)
    for setting, enforced in (
        ("CONTENT_SECURITY_POLICY", True),
        ("CONTENT_SECURITY_POLICY_REPORT_ONLY", False),
    ):
        configured = getattr(settings, setting, None)
        if isinstance(configured, Mapping) and configured:
            found = True
            own = configured.get("DIRECTIVES")
            # django-csp adds this unless the host sets it.
            directives = {"default-src": "'self'", **(own if isinstance(own, Mapping) else {})}
            yield _Policy(setting, directives, enforced)
    if found or not any(re.fullmatch(r"CSP_[A-Z_]+_SRC", name) for name in dir(settings)):
        return
    yield _Policy(
        "CSP_FRAME_SRC",
        {
            "frame-src": getattr(settings, "CSP_FRAME_SRC", None),
            "child-src": getattr(settings, "CSP_CHILD_SRC", None),
            "default-src": getattr(settings, "CSP_DEFAULT_SRC", "'self'"),
        },
        enforced=not getattr(settings, "CSP_REPORT_ONLY", False),
    )


def _is_sent() -> bool:
    """Return whether a middleware seems to send the policy, to judge by its name."""
    named_after_it = re.compile(r"csp|content_?security_?policy", re.IGNORECASE)
    return any(named_after_it.search(str(path)) for path in settings.MIDDLEWARE)


def embedder_policy_findings() -> Iterator[Finding]:
    """Check whether the settings name a Cross-Origin-Embedder-Policy.

    Django (6.1) sends none. Packages and middlewares of hosts do, with settings of these names.
    """
    for setting in _EMBEDDER_POLICY_SETTINGS:
        value = blocking_embedder_policy(str(getattr(settings, setting, None) or ""))
        if value:
            yield warning(
                "coep-blocks",
                _(
                    "%(setting)s is “%(value)s”. Where a page is sent with this "
                    "Cross-Origin-Embedder-Policy, browsers refuse to show the inbox in it."
                )
                % {"setting": setting, "value": value},
                _("Leave that header out of the pages that show an inbox."),
            )


def blocking_embedder_policy(header: str) -> str:
    """Return the Cross-Origin-Embedder-Policy in a header if it keeps inboxes out, otherwise ""."""
    value = header.partition(";")[0].strip().lower()
    return value if value in ("require-corp", "credentialless") else ""
